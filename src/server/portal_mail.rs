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
        Letter { to: to.to_owned(), subject: say(subject.into()), text: body, code: link, unsubscribe }
    }

    fn link(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        format!("{}{path}?{query}", self.base)
    }
}
