//! Gathers the settings: defaults, then a file, then the environment, then the command line.
//!
//! Works on `toml` values, so that a complaint can name the key and where it was set, and `config show` can say
//! where each value came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use super::{Config, check};

/// Variables of the environment that are settings start with this; two underscores stand between the levels.
pub const ENVIRONMENT_PREFIX: &str = "WARREN__";

/// Keys that name a file whose content is the value of the key before this suffix.
const FILE_SUFFIX: &str = "_file";

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The documented default.
    Default,
    /// The file named by `--config`.
    File(PathBuf),
    /// A variable of the environment.
    Environment(String),
    /// An option of the command.
    CommandLine(&'static str),
    /// The content of a file that a `*_file` key names.
    SecretFile(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Environment(name) => f.write_str(name),
            Origin::CommandLine(option) => f.write_str(option),
            Origin::SecretFile(path) => write!(f, "content of {}", path.display()),
        }
    }
}

/// Why there are no settings. Every text names the key or file and where it stands.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// A file that cannot be read.
    #[error("{key} names {path}, which cannot be read: {cause}")]
    Unreadable {
        /// The key or option that names it.
        key: String,
        /// The file.
        path: String,
        /// What the system said.
        cause: String,
    },
    /// A file that is not TOML.
    #[error("{path} is not valid TOML: {cause}")]
    Syntax {
        /// The file.
        path: String,
        /// Line, column and reason.
        cause: String,
    },
    /// A key that does not exist.
    #[error("{key} ({origin}) is not a setting; the nearest one is {nearest}")]
    Unknown {
        /// The key as it was written.
        key: String,
        /// Where it stands.
        origin: String,
        /// The setting whose name is nearest.
        nearest: String,
    },
    /// A value that cannot be used.
    #[error("{key} ({origin}) cannot be used: {cause}")]
    BadValue {
        /// The key.
        key: String,
        /// Where the value stands.
        origin: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A secret given twice.
    #[error("{key} and {key}_file are both set; set one of them")]
    TwoSecrets {
        /// The key without `_file`.
        key: String,
    },
    /// Settings that do not fit together.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Disagreement(Vec<check::Complaint>),
}

/// What the settings are gathered from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file named by `--config`.
    pub file: Option<PathBuf>,
    /// Variables of the environment; those without [`ENVIRONMENT_PREFIX`] are skipped.
    pub environment: Vec<(String, String)>,
    /// Options of the command: the option, its key, its value as text.
    pub command_line: Vec<(&'static str, &'static str, String)>,
}

impl Sources {
    /// The environment of this process and the given file.
    pub fn of_process(file: Option<PathBuf>) -> Self {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let environment = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
        Self { file, environment, command_line: Vec::new() }
    }
}

/// Settings and where each came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings, secrets read from their files.
    pub config: Config,
    values: Table,
    origins: BTreeMap<String, Origin>,
}

/// One setting as `config show` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The dotted key.
    pub key: String,
    /// The value as TOML; a secret is masked.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

/// Gathers, reads the secret files and checks that the settings agree.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let mut gathered = Gathered::defaults();
    if let Some(path) = &sources.file {
        gathered.add_file(path)?;
    }
    gathered.add_environment(&sources.environment)?;
    for (option, key, value) in &sources.command_line {
        gathered.set_text(key, value, Origin::CommandLine(option))?;
    }
    gathered.read_secret_files()?;
    let config = Config::deserialize(gathered.values.clone()).map_err(|error| ConfigError::BadValue {
        key: "configuration".into(),
        origin: "all sources".into(),
        cause: error.to_string(),
    })?;
    let complaints = check::check(&config);
    if !complaints.is_empty() {
        return Err(ConfigError::Disagreement(complaints));
    }
    Ok(Loaded { config, values: gathered.values, origins: gathered.origins })
}

impl Loaded {
    /// Every setting in the order of the sections, secrets masked.
    pub fn show(&self) -> Vec<Shown> {
        let secrets = secrets(&self.values);
        let mask = |key: &str, value: &Value| match value.as_str() {
            Some(text) if !text.is_empty() && secrets.iter().any(|secret| secret == key) => "\"********\"".into(),
            _ => value.to_string(),
        };
        let leaves = leaves(&self.values).into_iter();
        leaves
            .map(|(key, value)| {
                let origin = self.origins.get(&key).cloned().unwrap_or(Origin::Default);
                Shown { value: mask(&key, &value), key, origin }
            })
            .collect()
    }
}

/// The dotted keys of every setting.
pub fn known_keys() -> Vec<String> {
    leaves(&default_values()).into_iter().map(|(key, _)| key).collect()
}

/// Values so far, and where those that are not defaults came from.
struct Gathered {
    defaults: Table,
    values: Table,
    origins: BTreeMap<String, Origin>,
}

impl Gathered {
    fn defaults() -> Self {
        let defaults = default_values();
        Self { values: defaults.clone(), defaults, origins: BTreeMap::new() }
    }

    fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| unreadable("--config", path, &error))?;
        let table: Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
            path: path.display().to_string(),
            cause: error.to_string().trim_end().replace('\n', " "),
        })?;
        let origin = Origin::File(path.to_owned());
        self.add_table("", table, &origin)
    }

    /// Sets every leaf of a table; a table where a value belongs, or the reverse, is a bad value.
    fn add_table(&mut self, prefix: &str, table: Table, origin: &Origin) -> Result<(), ConfigError> {
        for (name, value) in table {
            let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            match (find(&self.defaults, &key), value) {
                (Some(Value::Table(_)), Value::Table(inner)) => self.add_table(&key, inner, origin)?,
                (Some(Value::Table(_)), _) => {
                    return Err(bad_value(&key, origin, "it is a section, not a value".into()));
                }
                (Some(_), value) => self.set(&key, value, origin.clone())?,
                (None, _) => return Err(unknown(&key, origin)),
            }
        }
        Ok(())
    }

    fn add_environment(&mut self, environment: &[(String, String)]) -> Result<(), ConfigError> {
        for (name, text) in environment {
            if let Some(path) = name.strip_prefix(ENVIRONMENT_PREFIX) {
                let key = path.to_lowercase().replace("__", ".");
                self.set_text(&key, text, Origin::Environment(name.clone()))?;
            }
        }
        Ok(())
    }

    /// Sets a leaf from text, which takes the type of the default.
    fn set_text(&mut self, key: &str, text: &str, origin: Origin) -> Result<(), ConfigError> {
        let value = match find(&self.defaults, key) {
            None => return Err(unknown(key, &origin)),
            Some(Value::Table(_)) => return Err(bad_value(key, &origin, "it is a section, not a value".into())),
            Some(Value::String(_)) => Ok(Value::String(text.into())),
            Some(Value::Array(_)) if text.trim_start().starts_with('[') => parse_value(text),
            Some(Value::Array(_)) => Ok(Value::Array(
                text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(|item| item.into()).collect(),
            )),
            Some(_) => parse_value(text),
        };
        let value = value.map_err(|cause| bad_value(key, &origin, cause))?;
        self.set(key, value, origin)
    }

    /// Sets a leaf, having tried it alone on the defaults, so that a refusal is about this key.
    fn set(&mut self, key: &str, value: Value, origin: Origin) -> Result<(), ConfigError> {
        let mut trial = self.defaults.clone();
        put(&mut trial, key, value.clone());
        if let Err(error) = Config::deserialize(trial) {
            return Err(bad_value(key, &origin, error.message().into()));
        }
        put(&mut self.values, key, value);
        self.origins.insert(key.into(), origin);
        Ok(())
    }

    fn read_secret_files(&mut self) -> Result<(), ConfigError> {
        for key in secrets(&self.values) {
            let file_key = format!("{key}{FILE_SUFFIX}");
            let path = match find(&self.values, &file_key).and_then(Value::as_str) {
                Some(path) if !path.is_empty() => PathBuf::from(path),
                _ => continue,
            };
            if find(&self.values, &key).and_then(Value::as_str).is_some_and(|secret| !secret.is_empty()) {
                return Err(ConfigError::TwoSecrets { key });
            }
            let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&file_key, &path, &error))?;
            put(&mut self.values, &key, Value::String(text.trim_end_matches(['\r', '\n']).into()));
            self.origins.insert(key, Origin::SecretFile(path));
        }
        Ok(())
    }
}

fn default_values() -> Table {
    Table::try_from(Config::default()).expect("the defaults are plain data")
}

/// A boolean, a number or a list, as TOML writes them.
fn parse_value(text: &str) -> Result<Value, String> {
    let table: Table = format!("value = {text}").parse().map_err(|_| format!("'{text}' is not a TOML value"))?;
    table.get("value").cloned().ok_or_else(|| format!("'{text}' is not a TOML value"))
}

/// Keys with a `*_file` key beside them.
fn secrets(values: &Table) -> Vec<String> {
    let keys: Vec<String> = leaves(values).into_iter().map(|(key, _)| key).collect();
    keys.iter().filter(|key| keys.contains(&format!("{key}{FILE_SUFFIX}"))).cloned().collect()
}

/// Every value that is not a section, with its dotted key.
fn leaves(table: &Table) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (name, value) in table {
        match value {
            Value::Table(inner) => {
                found.extend(leaves(inner).into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
            }
            value => found.push((name.clone(), value.clone())),
        }
    }
    found
}

fn find<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        Some((section, rest)) => find(table.get(section)?.as_table()?, rest),
        None => table.get(key),
    }
}

/// Sets a leaf in a section that exists.
fn put(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        Some((section, rest)) => {
            if let Some(Value::Table(inner)) = table.get_mut(section) {
                put(inner, rest, value);
            }
        }
        None => {
            table.insert(key.into(), value);
        }
    }
}

fn unknown(key: &str, origin: &Origin) -> ConfigError {
    let score = |candidate: &String| (strsim::jaro_winkler(key, candidate) * 1e6) as u64;
    let nearest = known_keys().into_iter().max_by_key(score).unwrap_or_default();
    ConfigError::Unknown { key: key.into(), origin: origin.to_string(), nearest }
}

fn bad_value(key: &str, origin: &Origin, cause: String) -> ConfigError {
    ConfigError::BadValue { key: key.into(), origin: origin.to_string(), cause }
}

fn unreadable(key: &str, path: &Path, error: &std::io::Error) -> ConfigError {
    ConfigError::Unreadable { key: key.into(), path: path.display().to_string(), cause: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, Sources) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.toml");
        std::fs::write(&path, text).unwrap();
        (folder, Sources { file: Some(path), ..Sources::default() })
    }

    fn environment(name: &str, value: &str) -> Sources {
        Sources { environment: vec![(name.into(), value.into())], ..Sources::default() }
    }

    #[test]
    fn nothing_given_gives_the_defaults() {
        let loaded = load(&Sources::default()).unwrap();
        assert_eq!(loaded.config, Config::default());
        assert!(loaded.show().iter().all(|shown| shown.origin == Origin::Default));
    }

    #[test]
    fn later_sources_win_and_are_named() {
        let (_folder, mut sources) = file("[http]\nlisten = '127.0.0.1:1'\nmax_connections = 5\n[store]\npath = 'a'");
        sources.environment = vec![
            ("WARREN__HTTP__LISTEN".into(), "127.0.0.1:2".into()),
            ("WARREN__PLAN__FREE__BYTES".into(), "unlimited".into()),
            ("HOME".into(), "/root".into()),
        ];
        sources.command_line = vec![("--data", "store.path", "b".into())];
        let loaded = load(&sources).unwrap();
        assert_eq!(loaded.config.http.listen.port(), 2);
        assert_eq!(loaded.config.http.max_connections, 5);
        assert_eq!(loaded.config.plan.free.bytes, super::super::contracts::Grant::Unlimited);
        assert_eq!(loaded.config.store.path, PathBuf::from("b"));
        let origin = |key: &str| loaded.show().into_iter().find(|shown| shown.key == key).unwrap().origin;
        assert_eq!(origin("http.listen"), Origin::Environment("WARREN__HTTP__LISTEN".into()));
        assert_eq!(origin("http.max_connections"), Origin::File(sources.file.clone().unwrap()));
        assert_eq!(origin("store.path"), Origin::CommandLine("--data"));
        assert_eq!(origin("store.cache"), Origin::Default);
    }

    #[test]
    fn unknown_keys_name_the_nearest_one() {
        let (_folder, sources) = file("[http]\nlisen = '127.0.0.1:1'");
        assert!(load(&sources).unwrap_err().to_string().ends_with("the nearest one is http.listen"));
        let error = load(&environment("WARREN__RELAY__KEEP_ALIVE", "5s")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "relay.keep_alive (WARREN__RELAY__KEEP_ALIVE) is not a setting; the nearest one is relay.keepalive"
        );
        let (_folder, sources) = file("[htpp]\nlisten = '127.0.0.1:1'");
        assert!(matches!(load(&sources), Err(ConfigError::Unknown { .. })));
    }

    #[test]
    fn a_bad_value_names_its_key_and_origin() {
        let error = load(&environment("WARREN__RELAY__KEEPALIVE", "soon")).unwrap_err().to_string();
        assert!(error.starts_with("relay.keepalive (WARREN__RELAY__KEEPALIVE) cannot be used: 'soon'"), "{error}");
        let error = load(&environment("WARREN__HTTP__MAX_CONNECTIONS", "many")).unwrap_err().to_string();
        assert!(error.contains("http.max_connections") && error.contains("many"), "{error}");
        let (_folder, sources) = file("http = 3");
        assert!(load(&sources).unwrap_err().to_string().contains("it is a section"));
        let (_folder, sources) = file("[http\n");
        assert!(matches!(load(&sources), Err(ConfigError::Syntax { .. })));
    }

    #[test]
    fn lists_in_the_environment_are_separated_by_commas_or_written_as_toml() {
        let loaded = load(&environment("WARREN__TLS__NAMES", "a.example, b.example")).unwrap();
        assert_eq!(loaded.config.tls.names, ["a.example", "b.example"]);
        let list = "[{ range = '10.0.0.0/8', country = 'de' }]";
        let loaded = load(&environment("WARREN__GEOIP__OVERRIDES", list)).unwrap();
        assert_eq!(loaded.config.geoip.overrides[0].country, "de");
        let list = "[{ range = '10.0.0.0/8', contry = 'de' }]";
        assert!(load(&environment("WARREN__GEOIP__OVERRIDES", list)).unwrap_err().to_string().contains("contry"));
    }

    #[test]
    fn a_secret_is_read_from_its_file_and_masked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "hunter2\n").unwrap();
        let mut sources = environment("WARREN__MAIL__SMTP_PASSWORD_FILE", path.to_str().unwrap());
        let loaded = load(&sources).unwrap();
        assert_eq!(loaded.config.mail.smtp_password, "hunter2");
        let shown = loaded.show().into_iter().find(|shown| shown.key == "mail.smtp_password").unwrap();
        assert_eq!((shown.value.as_str(), shown.origin), ("\"********\"", Origin::SecretFile(path)));
        sources.environment.push(("WARREN__MAIL__SMTP_PASSWORD".into(), "x".into()));
        assert_eq!(load(&sources).unwrap_err(), ConfigError::TwoSecrets { key: "mail.smtp_password".into() });
    }

    #[test]
    fn a_missing_file_is_named() {
        let sources = Sources { file: Some("/nowhere/warren.toml".into()), ..Sources::default() };
        assert!(load(&sources).unwrap_err().to_string().starts_with("--config names /nowhere/warren.toml"));
    }
}
