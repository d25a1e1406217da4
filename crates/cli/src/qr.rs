//! A QR code made of half blocks: two modules above each other in one character.

use crate::failure::{Exit, Failure};
use qrcode::{Color, EcLevel, QrCode};

/// Modules of white around the code (ISO/IEC 18004 asks for four).
const QUIET: usize = 4;

/// Whether the terminal is told which colours to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Black on white whatever the terminal's own colours are, so that it scans on dark and light ones.
    BlackOnWhite,
    /// Characters only: full blocks are dark modules.
    Plain,
}

/// Dark modules of the code for `text`, row by row, without the white around.
pub fn modules(text: &str) -> Result<Vec<Vec<bool>>, Failure> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).map_err(|error| {
        Failure::because(Exit::Failed, "the config is too long for a QR code; use the file", error)
    })?;
    let dark: Vec<bool> = code.to_colors().iter().map(|color| *color == Color::Dark).collect();
    Ok(dark.chunks(code.width()).map(<[bool]>::to_vec).collect())
}

/// The code for `text` as lines of characters.
pub fn render(text: &str, paint: Paint) -> Result<String, Failure> {
    let modules = modules(text)?;
    let size = modules.len() + 2 * QUIET;
    let dark = |x: usize, y: usize| {
        let row = y.checked_sub(QUIET).and_then(|y| modules.get(y));
        row.and_then(|row| x.checked_sub(QUIET).and_then(|x| row.get(x))).copied().unwrap_or(false)
    };
    let (on, off) = match paint {
        Paint::BlackOnWhite => ("\x1b[38;5;16;48;5;231m", "\x1b[0m"),
        Paint::Plain => ("", ""),
    };
    let mut lines = String::new();
    for y in (0..size).step_by(2) {
        lines.push_str(on);
        lines.extend((0..size).map(|x| match (dark(x, y), dark(x, y + 1)) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        }));
        lines.push_str(off);
        lines.push('\n');
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Reads the characters back into pixels and has them decoded by an independent reader.
    fn scan(lines: &str) -> String {
        let rows: Vec<Vec<(bool, bool)>> = lines
            .lines()
            .map(|line| {
                let plain = line.replace("\x1b[38;5;16;48;5;231m", "").replace("\x1b[0m", "");
                plain.chars().map(|c| (matches!(c, '█' | '▀'), matches!(c, '█' | '▄'))).collect()
            })
            .collect();
        let (scale, width) = (4, rows[0].len());
        let pixel = |x: usize, y: usize| {
            let (above, below) = rows[y / scale / 2][x / scale];
            if [above, below][y / scale % 2] { 0 } else { 255 }
        };
        let mut image =
            rqrr::PreparedImage::prepare_from_greyscale(width * scale, rows.len() * 2 * scale, pixel);
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1);
        grids[0].decode().unwrap().1
    }

    #[test]
    fn a_config_scans_back_and_fits_eighty_columns() {
        let conf = format!(
            "[Interface]\nPrivateKey = {0}\nAddress = 100.64.0.2/32, fd00:1111:2222::2/128\nDNS = 100.64.0.1, fd00:1111:2222::1\n\n\
             [Peer]\nPublicKey = {0}\nAllowedIPs = 0.0.0.0/0, ::/0\nEndpoint = 203.0.113.7:51820\n",
            "A".repeat(43) + "="
        );
        for paint in [Paint::BlackOnWhite, Paint::Plain] {
            assert_eq!(scan(&render(&conf, paint).unwrap()), conf);
        }
        let widest = render(&conf, Paint::Plain).unwrap().lines().map(|line| line.chars().count()).max();
        assert!(widest.is_some_and(|columns| columns <= 80), "{widest:?}");
    }

    #[test]
    fn too_long_is_a_sentence() {
        assert!(modules(&"x".repeat(4000)).unwrap_err().to_string().contains("use the file"));
    }
}
