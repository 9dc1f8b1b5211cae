//! What the client API says to people, in its two languages.

use axum::http::{HeaderMap, header};

/// A language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// Unless something else is preferred.
    #[default]
    Russian,
    /// On request.
    English,
}

impl Language {
    /// The one that a caller prefers: English where `Accept-Language` gives it more weight than Russian.
    pub fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::ACCEPT_LANGUAGE).iter().filter_map(|value| value.to_str().ok());
        let (mut most, mut preferred) = (0.0, Self::default());
        for range in values.flat_map(|value| value.split(',')) {
            let (tag, parameters) = range.split_once(';').unwrap_or((range, ""));
            let weight = match parameters.trim().strip_prefix("q=") {
                Some(weight) => weight.trim().parse().unwrap_or(0.0),
                None => 1.0f32,
            };
            let language = match tag.trim().split('-').next().unwrap_or_default() {
                tag if tag.eq_ignore_ascii_case("ru") => Self::Russian,
                tag if tag.eq_ignore_ascii_case("en") => Self::English,
                _ => continue,
            };
            // Of two with the same weight the first one named counts.
            if weight > most {
                (most, preferred) = (weight, language);
            }
        }
        preferred
    }

    /// The text in this language.
    pub fn say(self, text: &Phrase) -> &'static str {
        match self {
            Self::Russian => text.russian,
            Self::English => text.english,
        }
    }
}

/// A text in both languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phrase {
    russian: &'static str,
    english: &'static str,
}

const fn text(russian: &'static str, english: &'static str) -> Phrase {
    Phrase { russian, english }
}

/// The answer to a wrong secret, or an unknown name.
pub const WRONG_LOGIN: Phrase = text("Неверный логин или пароль", "Wrong login or password");
/// No token that holds; the same in both languages, because apps look for it.
pub const UNAUTHENTICATED: Phrase = text("Unauthenticated.", "Unauthenticated.");
/// The token is dead.
pub const LOGGED_OUT: Phrase = text("Выход из системы выполнен успешно", "Logged out successfully");
/// The mail address is not proven.
pub const UNVERIFIED: Phrase =
    text("Адрес электронной почты не подтверждён.", "The email address has not been confirmed yet.");
/// No room for another device.
pub const TOO_MANY_DEVICES: Phrase = text(
    "Достигнут предел числа устройств. Удалите одно из них.",
    "The limit of devices has been reached. Remove one of them.",
);
/// A device of somebody else, or of nobody.
pub const FOREIGN_DEVICE: Phrase = text("Это устройство вам не принадлежит.", "This device is not yours.");
/// No such server, or none with a provider that works.
pub const UNKNOWN_SERVER: Phrase = text("Сервер не найден.", "There is no such server.");
/// Nothing left to spend.
pub const NO_PLAN: Phrase = text("Нет активного тарифа.", "There is no active plan.");
/// No such path.
pub const NO_ROUTE: Phrase = text("Страница не найдена.", "There is no such route.");
/// Another method is needed.
pub const WRONG_METHOD: Phrase = text("Метод {} здесь не поддерживается.", "The {} method is not supported here.");
/// The windows are full.
pub const TOO_MANY: Phrase =
    text("Слишком много попыток. Повторите позже.", "Too many attempts. Please try again later.");
/// A body above the limit.
pub const TOO_LARGE: Phrase = text("Запрос слишком велик.", "The request is too large.");
/// A forwarding header that cannot be read.
pub const BAD_REQUEST: Phrase = text("Запрос не распознан.", "The request cannot be understood.");
/// Come again.
pub const BUSY: Phrase = text("Сервер занят. Повторите позже.", "The server is busy. Please try again later.");
/// The cause is in the log.
pub const INTERNAL: Phrase = text("Внутренняя ошибка сервера.", "Server Error");
/// A place that no table knows.
pub const ANYWHERE: Phrase = text("Неизвестно", "Unknown");

/// A field that is not there, or empty.
pub const REQUIRED: Phrase = text("Поле {} обязательно для заполнения.", "The {} field is required.");
/// A field that is no text.
pub const NOT_TEXT: Phrase = text("Поле {} должно быть строкой.", "The {} field must be a string.");
/// A field that is no mail address.
pub const NOT_EMAIL: Phrase = text(
    "Поле {} должно быть действительным адресом электронной почты.",
    "The {} field must be a valid email address.",
);
/// A field that is no number.
pub const NOT_NUMBER: Phrase = text("Поле {} должно быть целым числом.", "The {} field must be an integer.");
/// A field that is too long.
pub const TOO_LONG: Phrase =
    text("Поле {} не должно быть длиннее 255 символов.", "The {} field must not be greater than 255 characters.");
/// Behind the first complaint, when there are others.
pub const AND_MORE: Phrase = text("(и ещё ошибок: {})", "(and {} more)");

#[cfg(test)]
mod tests {
    use super::*;

    fn language(accept: &str) -> Language {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_LANGUAGE, accept.parse().unwrap());
        Language::of(&headers)
    }

    #[test]
    fn english_is_spoken_only_to_those_who_prefer_it() {
        assert_eq!(Language::of(&HeaderMap::new()), Language::Russian);
        for russian in ["ru", "*", "de", "ru, en", "ru-RU,ru;q=0.9,en;q=0.8", "en;q=0.1, ru", "en;q=0", "en;q=x", ""] {
            assert_eq!(language(russian), Language::Russian, "{russian}");
        }
        for english in ["en", "EN-us", "de, en;q=0.5", "en, ru", "ru;q=0.2, en;q=0.9"] {
            assert_eq!(language(english), Language::English, "{english}");
        }
    }
}
