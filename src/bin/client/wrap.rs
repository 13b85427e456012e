//! Lines as rows of a terminal. No I/O.

use unicode_width::UnicodeWidthChar;

/// Breaks lines that are longer than a row of `columns`, and indents what follows a break.
///
/// A line of the chat begins with a name or a star. So no text that wraps looks like a line of
/// its own. A row ends at a blank where it has one. Blanks that would begin the next row are left
/// out. Tabs become blanks.
///
/// The width of some characters differs between terminals, and the widest one counts.
/// If the terminal `is_east_asian`, symbols such as `…` have two columns there.
///
/// A terminal of fewer than [`MIN_COLUMNS`] is left to wrap by itself.
pub(super) fn wrap(lines: &str, columns: usize, is_east_asian: bool) -> String {
    if columns < MIN_COLUMNS {
        return lines.to_owned();
    }
    let mut out = String::with_capacity(lines.len());
    let mut row = Row::default();
    let mut chars = lines.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\n' => {
                out.push('\n');
                row = Row::default();
            }
            ESCAPE => {
                // The colours of this program. Texts hold no escape sequences.
                out.push(char);
                out.extend(std::iter::from_fn(|| {
                    chars.next_if(|char| *char != COLOUR_END)
                }));
                out.extend(chars.next());
            }
            '\t' => {
                // As on a terminal, the end of the row is a tab stop.
                let stop = columns.min((row.width / TAB_COLUMNS + 1) * TAB_COLUMNS);
                let blanks = (stop - row.width).max(1);
                (0..blanks).for_each(|_| row.push(' ', 1, columns, &mut out));
            }
            _ => {
                let is_emoji = chars.peek() == Some(&EMOJI_STYLE);
                let width = if is_emoji {
                    2
                } else {
                    width(char, is_east_asian)
                };
                row.push(char, width, columns, &mut out);
            }
        }
    }
    out
}

/// The row that is being filled.
#[derive(Default)]
struct Row {
    width: usize,
    /// The length of the output, and of the row, after the last blank.
    after_blank: Option<(usize, usize)>,
}

impl Row {
    fn push(&mut self, char: char, width: usize, columns: usize, out: &mut String) {
        if char == ' ' && self.width == columns {
            // It would begin the next row, which is indented as it is.
            self.after_blank = Some((out.len(), self.width));
            return;
        }
        if self.width + width > columns {
            let word = self
                .after_blank
                .filter(|(_, begins_at)| INDENT.len() + self.width - begins_at + width <= columns);
            let (at, begins_at) = word.unwrap_or((out.len(), self.width));
            out.insert_str(at, INDENT);
            out.insert(at, '\n');
            self.width = INDENT.len() + self.width - begins_at;
            self.after_blank = None;
        }
        out.push(char);
        self.width += width;
        if char == ' ' {
            self.after_blank = Some((out.len(), self.width));
        }
    }
}

/// Returns the number of columns that any terminal gives to a character.
fn width(char: char, is_east_asian: bool) -> usize {
    match char {
        // Half of a flag, which is a letter where there are no flags.
        '\u{1f1e6}'..='\u{1f1ff}' => 2,
        _ if is_east_asian => char.width_cjk().unwrap_or(0),
        _ => char.width().unwrap_or(0),
    }
}

/// No name begins with a blank.
const INDENT: &str = "    ";

/// Space for the indent and a few characters.
const MIN_COLUMNS: usize = 8;

/// The distance of the tab stops of a terminal.
const TAB_COLUMNS: usize = 8;

const ESCAPE: char = '\x1b';
const COLOUR_END: char = 'm';
const EMOJI_STYLE: char = '\u{fe0f}';

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wrapped(lines: &str, columns: usize) -> String {
        wrap(lines, columns, false)
    }

    #[test]
    fn what_fits_is_not_changed() {
        for lines in [
            "",
            "\n",
            "ada hi all\n",
            "ada hi all\n* bob left\n",
            "ada 世界!\n",
        ] {
            assert_eq!(wrapped(lines, 10), lines);
        }
    }

    #[test]
    fn a_row_ends_at_its_last_blank_and_the_next_one_is_indented() {
        for (line, rows) in [
            ("ada one two three\n", "ada one \n    two \n    three\n"),
            ("ada onetwothree\n", "ada onetwo\n    three\n"),
            ("adalbert onetwo\n", "adalbert \n    onetwo\n"),
            ("ada          bob\n", "ada       \n    bob\n"),
            ("ada       bob I\n", "ada       \n    bob I\n"),
            ("ada hi all!\n", "ada hi \n    all!\n"),
        ] {
            assert_eq!(wrapped(line, 10), rows);
        }
    }

    #[test]
    fn characters_count_by_their_columns() {
        for (line, rows) in [
            ("ada 世世世世\n", "ada 世世世\n    世\n"),
            (
                "ada \u{1f1e9}\u{1f1ea}xyz\n",
                "ada \u{1f1e9}\u{1f1ea}xy\n    z\n",
            ),
            (
                "ada ☎\u{fe0f}☎\u{fe0f}☎\u{fe0f}☎\u{fe0f}\n",
                "ada ☎\u{fe0f}☎\u{fe0f}☎\u{fe0f}\n    ☎\u{fe0f}\n",
            ),
            (
                "ada e\u{301}e\u{301}e\u{301}xyz\n",
                "ada e\u{301}e\u{301}e\u{301}xyz\n",
            ),
            ("a\tb\tc\n", "a       b \n    c\n"),
            ("\x1b[31mada\x1b[0m hi all\n", "\x1b[31mada\x1b[0m hi all\n"),
        ] {
            assert_eq!(wrapped(line, 10), rows);
        }
        let dots = "ada ……±±……\n";
        assert_eq!(wrapped(dots, 10), dots);
        assert_eq!(wrap(dots, 10, true), "ada ……±\n    ±……\n");
    }

    #[test]
    fn a_terminal_that_is_too_narrow_wraps_by_itself() {
        for columns in 0..MIN_COLUMNS {
            assert_eq!(
                wrapped("ada one two three\n", columns),
                "ada one two three\n"
            );
        }
    }

    proptest! {
        #[test]
        fn each_row_fits_and_begins_a_line_or_is_indented(
            text in "[a-z 世☎👩\u{301}\u{200d}\u{fe0f}]{0,200}",
            columns in MIN_COLUMNS..100,
        ) {
            let line = format!("ada {text}\n");
            let rows = wrapped(&line, columns);
            let width = |row: &str| row.chars().map(|char| super::width(char, false)).sum::<usize>();
            prop_assert!(rows.lines().all(|row| width(row) <= columns));
            prop_assert!(rows.starts_with("ada "));
            prop_assert!(rows.lines().skip(1).all(|row| row.starts_with(INDENT)));
            let without_blanks = |text: &str| text.replace([' ', '\n'], "");
            prop_assert_eq!(without_blanks(&rows), without_blanks(&line));
        }
    }
}
