//! Devices: what a person calls the machine behind a top-level client.

use serde::{Deserialize, Serialize};

use super::error::DomainError;
use crate::ids::{DeviceId, NetworkId};
use crate::json_record;
use crate::store::table::Table;
use crate::time::Timestamp;

/// Every device.
pub const DEVICES: Table<DeviceId, DeviceRecord> = Table::new(63, "devices");

/// Longest device name or description of its make, in bytes; longer text is cut, because an app must not be locked
/// out by the name its owner gave the machine.
pub const MAX_DEVICE_TEXT_BYTES: usize = 256;

/// Longest name or description of a device that is given on purpose, in characters; longer text is refused.
pub const MAX_DEVICE_TEXT_CHARS: usize = 256;

/// The name that old apps gave every device; a later description replaces it.
const PLACEHOLDER_NAME: &str = "New device";

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// The network it belongs to.
    pub network_id: NetworkId,
    /// What its owner calls it; empty for unnamed.
    pub device_name: String,
    /// What it is, as the app says, e.g. `linux amd64`.
    pub device_spec: String,
    /// When it was first seen.
    pub create_time: Timestamp,
}
json_record!(DeviceRecord, 1);

impl DeviceRecord {
    /// Takes what an app says of its device: the spec always, the name only where there is none yet. True when
    /// something changed.
    pub fn refresh(&mut self, description: &str, device_spec: &str) -> bool {
        let before = self.clone();
        if !device_spec.is_empty() {
            self.device_spec = cut(device_spec, MAX_DEVICE_TEXT_BYTES).to_owned();
        }
        if !description.is_empty() && (self.device_name.is_empty() || self.device_name == PLACEHOLDER_NAME) {
            self.device_name = cut(description, MAX_DEVICE_TEXT_BYTES).to_owned();
        }
        *self != before
    }
}

/// Checks the length of what somebody calls a device, where too long is an error.
///
/// # Errors
/// [`DomainError::BadRequest`] above [`MAX_DEVICE_TEXT_CHARS`].
pub fn check_text(text: &str) -> Result<(), DomainError> {
    if text.chars().nth(MAX_DEVICE_TEXT_CHARS).is_some() {
        let complaint = format!("A device name or spec must be at most {MAX_DEVICE_TEXT_CHARS} characters.");
        return Err(DomainError::BadRequest(complaint));
    }
    Ok(())
}

/// The longest start of `text` within `max_bytes` that ends between characters.
pub fn cut(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_once_given_stays_and_the_spec_follows_the_app() {
        let mut device = DeviceRecord {
            network_id: NetworkId::new([1; 16]),
            device_name: PLACEHOLDER_NAME.into(),
            device_spec: String::new(),
            create_time: Timestamp::ZERO,
        };
        assert!(device.refresh("attic box", "linux"));
        assert!(device.refresh("other name", "linux arm64"));
        assert_eq!((device.device_name.as_str(), device.device_spec.as_str()), ("attic box", "linux arm64"));
        assert!(!device.refresh("", ""));
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(cut("häuser", 2), "h");
        assert_eq!(cut("haus", 9), "haus");
    }
}
