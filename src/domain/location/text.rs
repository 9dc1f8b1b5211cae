//! Names as they are compared: plain ASCII, lower case, single spaces.

/// Longest query that is looked for, in bytes.
pub const MAX_QUERY_BYTES: usize = 128;

/// The form in which names and queries are compared: `Zürich ` and `zurich` are the same.
pub fn normalise(text: &str) -> String {
    let ascii = deunicode::deunicode(text).to_ascii_lowercase();
    ascii.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// As [`normalise`], of the beginning of a query of any length.
pub fn normalise_query(text: &str) -> String {
    let mut query = normalise(&text[..text.floor_char_boundary(MAX_QUERY_BYTES)]);
    // One letter of other scripts may be several of ours.
    query.truncate(MAX_QUERY_BYTES);
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accents_case_and_spaces_do_not_matter() {
        assert_eq!(normalise("  São \t PAULO "), "sao paulo");
        assert_eq!(normalise("Łódź"), "lodz");
        assert_eq!(normalise("Reykjavík (IS)"), "reykjavik (is)");
        assert_eq!(normalise("Москва"), "moskva");
        assert_eq!(normalise(" \u{0}\u{200b} ").trim_matches('\0'), "");
    }

    #[test]
    fn a_query_of_any_length_is_cut() {
        for text in ["x".repeat(10_000), "é".repeat(5_000), "\u{fdfa}".repeat(10_000), "😀".repeat(9_000)] {
            assert!(normalise_query(&text).len() <= MAX_QUERY_BYTES);
        }
    }
}
