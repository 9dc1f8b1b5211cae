//! Fields that several forms have, and what is wrong with them.

use super::error::{FIELD, PortalError};
use super::fields::Fields;
use super::texts::Text;
use crate::domain::auth::method::MethodKind;
use crate::domain::auth::user_auth::UserAuth;
use crate::domain::portal::password::{Lack, lacks};
use crate::http::state::ApiState;

/// The mail address of a field.
///
/// # Errors
/// 400 code 3 without one.
pub fn mail_address(fields: &Fields, name: &str) -> Result<UserAuth, PortalError> {
    if !fields.has(name) {
        return Err(PortalError::field("error.missing_email"));
    }
    let address = UserAuth::parse(fields.text(name)).filter(|address| address.kind() == MethodKind::Email);
    address.ok_or_else(|| PortalError::field("error.invalid_email"))
}

/// A field that must be there, as it was sent.
///
/// # Errors
/// 400 code 3 with this text when it is empty.
pub fn required<'f>(fields: &'f Fields, name: &str, missing: &'static str) -> Result<&'f str, PortalError> {
    match fields.raw(name) {
        "" => Err(PortalError::field(missing)),
        value => Ok(value),
    }
}

/// A password that may be set.
///
/// # Errors
/// 400 code 3 that names everything it lacks.
pub fn new_password<'f>(fields: &'f Fields, name: &str) -> Result<&'f str, PortalError> {
    let password = required(fields, name, "error.missing_password")?;
    let words = |lack: &Lack| match lack {
        Lack::Length => "error.lacks_length",
        Lack::Lower => "error.lacks_lower",
        Lack::Upper => "error.lacks_upper",
        Lack::Digit => "error.lacks_digit",
        Lack::Special => "error.lacks_special",
    };
    match &lacks(password)[..] {
        [] => Ok(password),
        lacking => {
            let parts = lacking.iter().map(words).collect();
            Err(PortalError::refused(FIELD, Text::from("error.password").with_list("parts", parts)))
        }
    }
}

/// Refuses addresses of the throw-away services that the operator has listed.
///
/// # Errors
/// 400 with this code.
pub fn refuse_disposable(state: &ApiState, address: &UserAuth, code: i32) -> Result<(), PortalError> {
    let domain = address.as_str().rsplit_once('@').map_or("", |(_, domain)| domain);
    let listed = &state.config().portal.disposable_domains;
    let is_listed = listed.iter().map(|listed| listed.trim().to_lowercase()).any(|listed| {
        let above = domain.strip_suffix(&listed);
        !listed.is_empty() && above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
    });
    match is_listed {
        true => Err(PortalError::refused(code, "error.disposable")),
        false => Ok(()),
    }
}
