//! A join code as a picture that a phone reads.
//!
//! Owns the drawing: two rows of modules a line, dark on light whatever the terminal's colours.

use qrcode::{EcLevel, QrCode};

/// Light modules around the picture.
const QUIET: usize = 2;

/// The picture; `None` when the text does not fit one.
pub(super) fn draw(text: &str) -> Option<String> {
    // Upper case is alphanumeric to a QR code, which makes it smaller; codes are read in any case.
    let code = QrCode::with_error_correction_level(text.to_uppercase(), EcLevel::L).ok()?;
    let width = code.width();
    let dark = |x: usize, y: usize| {
        let (Some(x), Some(y)) = (x.checked_sub(QUIET), y.checked_sub(QUIET)) else { return false };
        x < width && y < width && code[(x, y)] == qrcode::Color::Dark
    };
    let size = width + 2 * QUIET;
    let mut picture = String::new();
    for y in (0..size).step_by(2) {
        // Black on white.
        picture.push_str("\u{1b}[30;107m");
        for x in 0..size {
            picture.push(match (dark(x, y), dark(x, y + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        picture.push_str("\u{1b}[0m\n");
    }
    Some(picture)
}

#[cfg(test)]
mod tests {
    use super::draw;

    #[test]
    fn a_code_fits_a_terminal() {
        let picture = draw(&format!("driftless-{}", "0123456789".repeat(17))).unwrap();
        let lines: Vec<&str> = picture.lines().collect();
        assert!(lines.len() <= 40, "{} lines", lines.len());
        assert!(lines.iter().all(|line| line.chars().count() <= 100));
        assert!(draw(&"x".repeat(10_000)).is_none());
    }
}
