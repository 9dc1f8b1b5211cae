//! What the portal says, in each language: texts in the binary, replaced or added to by the operator's files.
//!
//! A text is named by its section and key (`signin.title`); places in braces (`{email}`) are filled in. A language
//! that lacks a text has the English one.

use std::collections::BTreeMap;
use std::path::Path;

use toml::{Table, Value};

use super::SetupError;

/// The language that has every text.
pub const ENGLISH: &str = "en";

const BUILT_IN: [(&str, &str); 2] =
    [(ENGLISH, include_str!("pages/texts/en.toml")), ("ru", include_str!("pages/texts/ru.toml"))];

/// A text, by name, and what fills its places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Its section and key.
    pub key: &'static str,
    /// What stands for which place.
    pub values: Vec<(&'static str, Filling)>,
}

/// What fills a place of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filling {
    /// These words.
    Plain(String),
    /// Other texts, listed.
    List(Vec<&'static str>),
}

impl From<&'static str> for Text {
    fn from(key: &'static str) -> Self {
        Self { key, values: Vec::new() }
    }
}

impl Text {
    /// The same with a place filled in.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.values.push((name, Filling::Plain(value.to_string())));
        self
    }

    /// The same with a place filled by other texts, listed.
    #[must_use]
    pub fn with_list(mut self, name: &'static str, keys: Vec<&'static str>) -> Self {
        self.values.push((name, Filling::List(keys)));
        self
    }
}

/// The texts of every language.
#[derive(Debug)]
pub struct Texts {
    languages: BTreeMap<String, Table>,
    /// English as it is in the binary: what programs are told.
    wire: Table,
    default: String,
}

impl Texts {
    /// The texts in the binary and those of `folder`, unless that is empty; `default` is the language of readers whose
    /// own is not there.
    ///
    /// # Errors
    /// A file that cannot be read, or a default that has no texts.
    pub fn open(folder: &Path, default: &str) -> Result<Self, SetupError> {
        let mut languages = BTreeMap::new();
        for (language, text) in BUILT_IN {
            languages.insert(language.to_owned(), parse(Path::new(language), text)?);
        }
        if !folder.as_os_str().is_empty() {
            for (language, table) in read_folder(folder)? {
                lay_over(languages.entry(language).or_default(), table);
            }
        }
        if !languages.contains_key(default) {
            return Err(SetupError::Language(default.to_owned()));
        }
        let english = languages.get(ENGLISH).cloned().unwrap_or_default();
        for table in languages.values_mut() {
            let own = std::mem::replace(table, english.clone());
            lay_over(table, own);
        }
        let wire = parse(Path::new(ENGLISH), BUILT_IN[0].1)?;
        Ok(Self { languages, wire, default: default.to_owned() })
    }

    /// Every language, and what it calls itself.
    pub fn languages(&self) -> impl Iterator<Item = (&str, &str)> {
        self.languages.iter().map(|(language, table)| (language.as_str(), find(table, "language.name")))
    }

    /// The language to use for a wish such as `de-AT`; none when there is nothing like it.
    pub fn known(&self, wish: &str) -> Option<&str> {
        let wish = wish.trim().to_ascii_lowercase();
        let short = wish.split(['-', '_']).next().unwrap_or_default();
        let found = self.languages.get_key_value(&wish).or_else(|| self.languages.get_key_value(short))?;
        Some(found.0)
    }

    /// The best language for an `Accept-Language` header.
    pub fn choose(&self, accept_language: &str) -> &str {
        let mut wishes: Vec<(f32, &str)> = Vec::new();
        for wish in accept_language.split(',').take(32) {
            let (name, quality) = wish.split_once(';').unwrap_or((wish, ""));
            let quality = quality.trim().strip_prefix("q=").and_then(|q| q.trim().parse().ok()).unwrap_or(1.0);
            wishes.push((quality, name));
        }
        // Stable: of equal wishes the first counts.
        wishes.sort_by(|left, right| right.0.total_cmp(&left.0));
        let found = wishes.iter().filter(|wish| wish.0 > 0.0).find_map(|(_, name)| self.known(name));
        found.unwrap_or(&self.default)
    }

    /// All texts of a language, for templates.
    pub fn table(&self, language: &str) -> &Table {
        self.languages.get(language).unwrap_or(&self.wire)
    }

    /// A text in a language.
    pub fn say(&self, language: &str, text: &Text) -> String {
        say(self.table(language), text)
    }

    /// A text as programs are told it: in English, whatever the operator has made of the pages.
    pub fn say_on_the_wire(&self, text: &Text) -> String {
        say(&self.wire, text)
    }
}

fn say(table: &Table, text: &Text) -> String {
    let filled = text.values.iter().map(|(name, filling)| match filling {
        Filling::Plain(text) => (*name, text.clone()),
        Filling::List(keys) => (*name, list(table, keys)),
    });
    fill(find(table, text.key), &filled.collect::<Vec<_>>())
}

/// Texts in a row, the last behind an "and".
fn list(table: &Table, keys: &[&str]) -> String {
    let words: Vec<&str> = keys.iter().map(|key| find(table, key)).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} {} {last}", rest.join(", "), find(table, "error.and")),
        _ => words.concat(),
    }
}

/// Fills the places of a text.
pub fn fill<N: AsRef<str>>(text: &str, values: &[(N, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // One pass: a value that holds a place is not filled in again.
    while let Some(start) = rest.find('{') {
        let filled = values.iter().find_map(|(name, value)| {
            let after = rest[start + 1..].strip_prefix(name.as_ref())?.strip_prefix('}')?;
            Some((value, after))
        });
        match filled {
            Some((value, after)) => {
                out.push_str(&rest[..start]);
                out.push_str(value);
                rest = after;
            }
            None => {
                out.push_str(&rest[..=start]);
                rest = &rest[start + 1..];
            }
        }
    }
    out + rest
}

/// A text of a table; its name where there is none, which a person can still report.
fn find<'t>(table: &'t Table, key: &'t str) -> &'t str {
    let (section, name) = key.split_once('.').unwrap_or((key, ""));
    table.get(section).and_then(|section| section.get(name)).and_then(Value::as_str).unwrap_or(key)
}

fn parse(path: &Path, text: &str) -> Result<Table, SetupError> {
    let broken = |cause: String| SetupError::Text(path.display().to_string(), cause);
    let table: Table = text.parse().map_err(|error: toml::de::Error| broken(error.to_string()))?;
    let is_text = |value: &Value| value.as_table().is_some_and(|section| section.values().all(Value::is_str));
    match table.iter().find(|(_, value)| !is_text(value)) {
        Some((name, _)) => Err(broken(format!("[{name}] must hold texts only"))),
        None => Ok(table),
    }
}

fn read_folder(folder: &Path) -> Result<Vec<(String, Table)>, SetupError> {
    let failed = |path: &Path, error: std::io::Error| SetupError::Text(path.display().to_string(), error.to_string());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| failed(folder, error))? {
        let path = entry.map_err(|error| failed(folder, error))?.path();
        let language = path.file_stem().and_then(|name| name.to_str()).map(str::to_ascii_lowercase);
        if path.extension().is_some_and(|extension| extension == "toml")
            && let Some(language) = language
        {
            let text = std::fs::read_to_string(&path).map_err(|error| failed(&path, error))?;
            found.push((language, parse(&path, &text)?));
        }
    }
    Ok(found)
}

/// Puts the texts of `above` into the place of those of `table`.
fn lay_over(table: &mut Table, above: Table) {
    for (section, texts) in above {
        match (table.get_mut(&section), texts) {
            (Some(Value::Table(below)), Value::Table(texts)) => below.extend(texts),
            (_, texts) => drop(table.insert(section, texts)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Vec<String> {
        let table = parse(Path::new("x"), text).unwrap();
        let section = |(name, texts): (&String, &Value)| -> Vec<String> {
            texts.as_table().unwrap().keys().map(|key| format!("{name}.{key}")).collect()
        };
        table.iter().flat_map(section).collect()
    }

    fn places(text: &str) -> Vec<&str> {
        let mut places: Vec<&str> = text.split('{').skip(1).filter_map(|part| Some(part.split_once('}')?.0)).collect();
        places.sort_unstable();
        places
    }

    #[test]
    fn every_language_in_the_binary_has_every_text_with_the_same_places() {
        let english = parse(Path::new("en"), BUILT_IN[0].1).unwrap();
        for (language, text) in BUILT_IN {
            assert_eq!(keys(text), keys(BUILT_IN[0].1), "{language}");
            let table = parse(Path::new(language), text).unwrap();
            for key in keys(text) {
                assert_eq!(places(find(&table, &key)), places(find(&english, &key)), "{language} {key}");
            }
        }
    }

    #[test]
    fn the_language_is_the_best_that_is_there() {
        let texts = Texts::open(Path::new(""), "en").unwrap();
        for (wish, language) in [
            ("", "en"),
            ("ru", "ru"),
            ("ru-RU,ru;q=0.9,en;q=0.8", "ru"),
            ("de-AT,de;q=0.9", "en"),
            ("en;q=0.5, ru;q=0.6", "ru"),
            ("ru;q=0, en", "en"),
            ("*", "en"),
        ] {
            assert_eq!(texts.choose(wish), language, "{wish}");
        }
        assert!(matches!(Texts::open(Path::new(""), "xx"), Err(SetupError::Language(_))));
    }

    #[test]
    fn an_operator_replaces_texts_and_adds_languages_but_programs_are_told_the_same() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("en.toml"), "[error]\nincorrect_login = \"Nope.\"\n").unwrap();
        std::fs::write(folder.path().join("de.toml"), "[language]\nname = \"Deutsch\"\n").unwrap();
        let texts = Texts::open(folder.path(), "de").unwrap();
        let text = Text::from("error.incorrect_login");
        assert_eq!(texts.say("en", &text), "Nope.");
        assert_eq!(texts.say("de", &text), "Nope.", "what a language lacks is English");
        assert_eq!(texts.say_on_the_wire(&text), "Incorrect Login.");
        assert_eq!(texts.choose("fr"), "de");
        std::fs::write(folder.path().join("en.toml"), "title = 1").unwrap();
        assert!(Texts::open(folder.path(), "de").is_err());
    }

    #[test]
    fn values_are_filled_in_once() {
        let values = [("a", "{b}".to_owned()), ("b", "x".to_owned())];
        assert_eq!(fill("{a} {b} {c} {", &values), "{b} x {c} {");
    }
}
