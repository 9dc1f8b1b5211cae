//! Numbers as all clients read them.

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

/// A fraction that is written as an integer when it is one: older clients read such fields as integers.
#[derive(Clone, Copy, Debug, Default, PartialEq, ToSchema)]
pub struct Number(pub f64);

/// Above this, not every integer has a float of its own.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.fract() == 0.0 && self.0.abs() <= MAX_EXACT {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_no_fraction() {
        let text = |value| serde_json::to_string(&Number(value)).unwrap();
        assert_eq!([text(15.0), text(-0.0), text(0.5), text(1e300)], ["15", "0", "0.5", "1e+300"]);
    }
}
