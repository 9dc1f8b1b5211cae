//! The code of an association: six words that people read out, type and scan.

use std::fmt;

use rand::Rng;

use crate::domain::auth::seedphrase;
use crate::domain::error::DomainError;

/// Words of a code: 66 random bits.
const WORDS: usize = 6;

/// Longest text that is looked at, in bytes.
pub const MAX_CODE_BYTES: usize = 1024;

/// A code in its stored form: lower case, single spaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code(String);

impl Code {
    /// A fresh code.
    pub fn random(rng: &mut impl Rng) -> Self {
        let words: Vec<&str> = (0..WORDS).map(|_| seedphrase::random_word(rng)).collect();
        Self(words.join(" "))
    }

    /// What somebody typed, however they spaced it.
    ///
    /// # Errors
    /// [`DomainError::BadRequest`] above [`MAX_CODE_BYTES`].
    pub fn parse(text: &str) -> Result<Self, DomainError> {
        if text.len() > MAX_CODE_BYTES {
            return Err(DomainError::BadRequest(format!("A device code must be at most {MAX_CODE_BYTES} bytes.")));
        }
        let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        Ok(Self(words.join(" ")))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_six_words_and_found_however_it_is_typed() {
        let code = Code::random(&mut rand::rng());
        assert_eq!(code.to_string().split(' ').count(), 6);
        let typed = format!("\t{} \n", code.to_string().to_uppercase().replace(' ', "  "));
        assert_eq!(Code::parse(&typed).unwrap(), code);
        assert_ne!(Code::random(&mut rand::rng()), code);
    }

    #[test]
    fn long_text_is_refused() {
        assert!(Code::parse(&"x".repeat(MAX_CODE_BYTES)).is_ok());
        assert!(matches!(Code::parse(&"x".repeat(MAX_CODE_BYTES + 1)), Err(DomainError::BadRequest(_))));
    }
}
