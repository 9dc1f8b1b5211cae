//! What people type to say who they are: a mail address or a phone number, in one normal form each.
//!
//! Everything is looked up by the normal form, every answer echoes it, and clients send it back; so it is its own
//! normal form.

use crate::config::Config;
use crate::config::mail::MailMode;
use crate::domain::auth::method::MethodKind;

const MAX_EMAIL_BYTES: usize = 254;
const MAX_LOCAL_BYTES: usize = 64;
const MAX_LABEL_BYTES: usize = 63;
/// Digits of a phone number with its country code (E.164).
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// A normalised mail address or phone number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserAuth {
    kind: MethodKind,
    value: String,
}

impl UserAuth {
    /// Reads what a person typed; `None` when it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_lowercase();
        let email = || Some(Self { kind: MethodKind::Email, value: parse_email(&text)? });
        let phone = || Some(Self { kind: MethodKind::Phone, value: parse_phone(&text)? });
        email().or_else(phone)
    }

    /// Reads a mail address.
    pub fn parse_mail(text: &str) -> Option<Self> {
        Self::parse(text).filter(|auth| auth.kind == MethodKind::Email)
    }

    /// Reads what a person typed, if a code can reach it: phones only where messages go to the log.
    pub fn parse_reachable(text: &str, config: &Config) -> Option<Self> {
        Self::parse(text).filter(|auth| auth.kind == MethodKind::Email || config.mail.mode == MailMode::Log)
    }

    /// [`MethodKind::Email`] or [`MethodKind::Phone`].
    pub fn kind(&self) -> MethodKind {
        self.kind
    }

    /// The normal form.
    pub fn as_str(&self) -> &str {
        &self.value
    }
}

/// The bare address of an RFC 5322 mailbox, display name allowed, no quoted local part and no address literal.
fn parse_email(text: &str) -> Option<String> {
    let address = match text.strip_suffix('>') {
        Some(mailbox) => mailbox.rsplit_once('<')?.1.trim(),
        None => text,
    };
    let (local, domain) = address.rsplit_once('@')?;
    let is_local = local.len() <= MAX_LOCAL_BYTES
        && local.split('.').all(|atom| {
            !atom.is_empty() && atom.chars().all(|c| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c))
        });
    let is_domain = domain.split('.').all(|label| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
    });
    (is_local && is_domain && address.len() <= MAX_EMAIL_BYTES).then(|| address.to_owned())
}

/// A possible phone number, of the United States when it has no `+`. Numbers of that plan are written
/// `+1 415-555-0142`; the grouping of other countries is left out.
fn parse_phone(text: &str) -> Option<String> {
    let (has_country, rest) = match text.strip_prefix('+') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if !rest.chars().all(|c| c.is_ascii_digit() || " -.()/".contains(c)) {
        return None;
    }
    let mut digits: String = rest.chars().filter(char::is_ascii_digit).collect();
    if !has_country {
        match digits.len() {
            10 => digits.insert(0, '1'),
            11 if digits.starts_with('1') => {}
            _ => return None,
        }
    }
    if digits.starts_with('0') || !PHONE_DIGITS.contains(&digits.len()) {
        return None;
    }
    match digits.strip_prefix('1') {
        Some(national) if national.len() == 10 => {
            Some(format!("+1 {}-{}-{}", &national[..3], &national[3..6], &national[6..]))
        }
        Some(_) => None,
        None => Some(format!("+{digits}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(MethodKind, String)> {
        UserAuth::parse(text).map(|auth| (auth.kind, auth.value))
    }

    #[test]
    fn mail_addresses_lose_their_display_name_and_case() {
        for (text, value) in [
            (" Ada <ADA@Hill.Example> ", "ada@hill.example"),
            ("root@localhost", "root@localhost"),
            ("<a.b+tag@x.org>", "a.b+tag@x.org"),
            ("jörg@dörfer.example", "jörg@dörfer.example"),
        ] {
            assert_eq!(parsed(text), Some((MethodKind::Email, value.into())), "{text}");
            assert_eq!(parsed(value), Some((MethodKind::Email, value.into())), "{value}");
        }
    }

    #[test]
    fn phone_numbers_are_of_the_united_states_unless_they_say_otherwise() {
        for (text, value) in [
            ("4155550142", "+1 415-555-0142"),
            ("(415) 555-0142", "+1 415-555-0142"),
            ("1 415.555.0142", "+1 415-555-0142"),
            ("+44 20 7946 0000", "+442079460000"),
        ] {
            assert_eq!(parsed(text), Some((MethodKind::Phone, value.into())), "{text}");
            assert_eq!(parsed(value), Some((MethodKind::Phone, value.into())), "{value}");
        }
    }

    #[test]
    fn other_text_is_neither() {
        for text in
            ["", " ", "not-an-id", "a@", "@b", "a@b@", "a b@c.org", "a..b@c.org", "a@-b.org", "a@b..org", "+0123456789"]
        {
            assert_eq!(parsed(text), None, "{text}");
        }
        for text in ["12345", "+1 415", "20555501423", "+12345678901234567", "415-CALL-NOW", "x <a@b.org", "é"] {
            assert_eq!(parsed(text), None, "{text}");
        }
        assert_eq!(parsed(&format!("{}@b.org", "a".repeat(65))), None);
    }

    #[test]
    fn phones_are_reached_through_the_log_only() {
        let mut config = Config::default();
        assert!(UserAuth::parse_reachable("4155550142", &config).is_some());
        config.mail.mode = MailMode::Smtp;
        assert!(UserAuth::parse_reachable("4155550142", &config).is_none());
        assert!(UserAuth::parse_reachable("a@b.org", &config).is_some());
    }
}
