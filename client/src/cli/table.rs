//! Text in columns, and sizes as people read them.
//!
//! Owns alignment. It must not know what the columns say.

/// Lines of cells, aligned to the left and two spaces apart; the last column is not padded.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            line.push_str(&printable(cell));
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// As [`table`], below what the columns are called; nothing when there are no rows.
pub(super) fn titled(titles: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let titles = titles.iter().map(|title| (*title).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(titles).chain(rows).collect();
    if rows.len() > 1 { table(&rows) } else { String::new() }
}

/// What stands behind a path of some kind, so that it is seen.
pub(super) fn suffix(kind: &str) -> &'static str {
    if kind == "bundle" { "/ (bundle)" } else { mark(kind) }
}

/// As [`suffix`], where the kind has been said.
pub(super) fn mark(kind: &str) -> &'static str {
    match kind {
        "directory" | "bundle" => "/",
        "symlink" => "@",
        _ => "",
    }
}

/// A cell without what a terminal would obey.
pub(super) fn printable(cell: &str) -> String {
    cell.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A time of an answer as people read it: to the second.
pub(super) fn to_the_second(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, _)) if time.ends_with('Z') => format!("{seconds}Z"),
        _ => time.to_owned(),
    }
}

/// A size in the largest unit of which there is at least one.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = u128::from(bytes) * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// A number and what it counts, in the right form: `1 entry`, `2 entries`.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_to_the_second() {
        for (time, shown) in [
            ("2026-11-20T14:00:00.123Z", "2026-11-20T14:00:00Z"),
            ("2026-11-20T14:00:00Z", "2026-11-20T14:00:00Z"),
            ("18446744073709551615 ms after 1970", "18446744073709551615 ms after 1970"),
        ] {
            assert_eq!(to_the_second(time), shown);
        }
    }

    #[test]
    fn columns_are_aligned() {
        let rows = vec![
            vec!["a".into(), "länger".into(), "x".into()],
            vec!["bbb".into(), "c".into(), "y\u{1b}[2J".into()],
        ];
        assert_eq!(table(&rows), "a    länger  x\nbbb  c       y\u{fffd}[2J\n");
        assert_eq!(table(&[]), "");
        assert_eq!(titled(&["SIZE", "PATH"], rows.into_iter().skip(2)), "");
        let row = vec!["12345".to_owned(), "a".to_owned()];
        assert_eq!(titled(&["SIZE", "PATH"], std::iter::once(row)), "SIZE   PATH\n12345  a\n");
    }

    #[test]
    fn sizes_are_read_by_people() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16383.9 PiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(count(1, "entry", "entries"), "1 entry");
        assert_eq!(count(0, "entry", "entries"), "0 entries");
    }
}
