//! The letters of the account website, put into words: text and subject from its texts, links from its settings.

use super::mail::Letter;
use crate::domain::portal::mail::{Letter as Subject, PortalMail};
use crate::http::portal::texts::{Text, Texts};

/// What letters are written with.
pub(super) struct Desk<'a> {
    pub(super) texts: &'a Texts,
    /// Base of the links.
    pub(super) base: &'a str,
    pub(super) product: &'a str,
}

impl Desk<'_> {
    /// The letter to somebody.
    pub(super) fn write(&self, to: &str, mail: &PortalMail) -> Letter {
        let (subject, text, link) = match &mail.letter {
            Subject::ConfirmEmail { code, is_browser } => {
                let browser = if *is_browser { "true" } else { "false" };
                let link = self.link("/confirm-email", &[("email", to), ("code", code), ("browser", browser)]);
                ("mail.confirm_subject", Text::from("mail.confirm"), Some(link))
            }
            Subject::ConfirmNewEmail { code } => {
                let link = self.link("/confirm-change-email", &[("email", to), ("code", code)]);
                ("mail.confirm_new_subject", Text::from("mail.confirm_new"), Some(link))
            }
            Subject::EmailChanged => ("mail.email_changed_subject", Text::from("mail.email_changed"), None),
            Subject::ResetPassword { code } => {
                let link = self.link("/reset-password", &[("code", code)]);
                ("mail.reset_subject", Text::from("mail.reset"), Some(link))
            }
            Subject::PasswordChanged => ("mail.password_changed_subject", Text::from("mail.password_changed"), None),
            Subject::Failure { path, cause } => {
                let text = Text::from("mail.failure").with("path", path).with("cause", cause);
                ("mail.failure_subject", text, None)
            }
        };
        let say = |text: Text| self.texts.say(&mail.language, &text.with("product", self.product));
        let mut body = say(text.with("link", link.as_deref().unwrap_or_default()));
        let unsubscribe = (!mail.opt_out_code.is_empty())
            .then(|| self.link("/do-not-email", &[("email", to), ("code", &mail.opt_out_code)]));
        if let Some(link) = &unsubscribe {
            body.push_str("\n\n--\n");
            body.push_str(&say(Text::from("mail.opt_out").with("link", link)));
        }
        body.push('\n');
        // A subject is one line, whatever the operator's texts hold.
        let subject = say(subject.into()).replace(char::is_control, " ");
        Letter { to: to.to_owned(), subject, text: body, code: link, unsubscribe }
    }

    fn link(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        format!("{}{path}?{query}", self.base)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn write(texts: &Texts, language: &str, letter: Subject) -> Letter {
        let desk = Desk { texts, base: "https://account.hill.example", product: "Hill" };
        let mail = PortalMail { letter, language: language.into(), opt_out_code: "abc".into() };
        desk.write("a+b@hill.example", &mail)
    }

    fn every_kind() -> Vec<Subject> {
        let code = || "c0de".to_owned();
        vec![
            Subject::ConfirmEmail { code: code(), is_browser: true },
            Subject::ConfirmNewEmail { code: code() },
            Subject::EmailChanged,
            Subject::ResetPassword { code: code() },
            Subject::PasswordChanged,
            Subject::Failure { path: "/x".into(), cause: "broken".into() },
        ]
    }

    #[test]
    fn letters_are_whole_in_each_language_and_end_with_the_way_out() {
        let texts = Texts::open(Path::new(""), "en").unwrap();
        for language in ["en", "ru"] {
            for kind in every_kind() {
                let letter = write(&texts, language, kind.clone());
                assert!(letter.subject.starts_with("Hill: "), "{letter:?}");
                assert!(!letter.text.contains(['{', '}']) && !letter.subject.contains('{'), "{letter:?}");
                let way_out = "https://account.hill.example/do-not-email?email=a%2Bb%40hill.example&code=abc";
                assert!(letter.text.ends_with(&format!("{way_out}\n")), "{letter:?}");
                assert_eq!(letter.unsubscribe.as_deref(), Some(way_out));
            }
        }
    }

    #[test]
    fn links_carry_the_code_and_the_address() {
        let texts = Texts::open(Path::new(""), "en").unwrap();
        let link = |kind| write(&texts, "en", kind).code.unwrap();
        let confirm = link(Subject::ConfirmEmail { code: "c0de".into(), is_browser: false });
        let start = "https://account.hill.example";
        assert_eq!(confirm, format!("{start}/confirm-email?email=a%2Bb%40hill.example&code=c0de&browser=false"));
        let new = link(Subject::ConfirmNewEmail { code: "c0de".into() });
        assert_eq!(new, format!("{start}/confirm-change-email?email=a%2Bb%40hill.example&code=c0de"));
        assert_eq!(link(Subject::ResetPassword { code: "c0de".into() }), format!("{start}/reset-password?code=c0de"));
    }

    #[test]
    fn a_text_of_the_operator_adds_no_header() {
        let folder = tempfile::tempdir().unwrap();
        let text = "[mail]\nreset_subject = \"Reset\\r\\nBcc: evil@hill.example\"\n";
        std::fs::write(folder.path().join("en.toml"), text).unwrap();
        let texts = Texts::open(folder.path(), "en").unwrap();
        let letter = write(&texts, "en", Subject::ResetPassword { code: "c0de".into() });
        assert_eq!(letter.subject, "Reset  Bcc: evil@hill.example");
    }
}
