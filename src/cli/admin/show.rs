//! How answers look to people.

use comfy_table::{Table, presets};

/// A table with a title per column.
pub fn table<const N: usize>(titles: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(titles.map(str::to_uppercase));
    table.add_rows(rows.into_iter().map(|row| row.map(|cell| clean(&cell))));
    trim(&table)
}

/// One thing: a name and a value per line.
pub fn details<const N: usize>(rows: [(&str, String); N]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.add_rows(rows.map(|(name, value)| [name.to_owned(), clean(&value)]));
    trim(&table)
}

/// Without control characters: users choose names and descriptions, and a terminal obeys what it reads.
fn clean(cell: &str) -> String {
    cell.chars().map(|letter| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter }).collect()
}

/// Without the spaces that the table puts at both ends of its lines.
fn trim(table: &Table) -> String {
    let lines: Vec<String> = table.lines().map(|line| line.trim().to_owned()).collect();
    lines.join("\n")
}

/// A list and, when there is more, how to go on.
pub fn page(list: String, next: Option<impl std::fmt::Display>) -> String {
    match next {
        Some(last) => format!("{list}\n\nThere is more: add --after {last}"),
        None => list,
    }
}

/// Bytes as a number and, from a kibibyte on, as a size.
pub fn bytes(count: i64) -> String {
    const UNITS: [(&str, i64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.into_iter().find(|(_, unit)| count.unsigned_abs() >= unit.unsigned_abs()) {
        Some((name, unit)) => format!("{:.1} {name}", count as f64 / unit as f64),
        None => format!("{count} B"),
    }
}

/// What there is, or a dash.
pub fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

/// `yes` or `no`.
pub fn yes_no(value: bool) -> String {
    if value { "yes" } else { "no" }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_chose_cannot_command_the_terminal_or_forge_rows() {
        let shown = table(["name"], [["\u{1b}[2Jhill\ntop".to_owned()]]);
        assert_eq!(shown, "NAME\n\u{fffd}[2Jhill\u{fffd}top");
        assert_eq!(details([("name", "a\rb".into())]), "name  a\u{fffd}b");
    }

    #[test]
    fn sizes_have_the_unit_that_fits() {
        for (count, text) in [(0, "0 B"), (1023, "1023 B"), (1 << 20, "1.0 MiB"), (-3 << 29, "-1.5 GiB")] {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(bytes(i64::MIN), "-8388608.0 TiB");
    }
}
