//! Tables whose columns fit the terminal.

use super::{Style, Tone, one_line};

/// The narrowest a column gets before lines may wrap.
const COLUMN_WIDTH_MIN: usize = 8;
/// What stands between columns.
const GAP: &str = "  ";

/// To which side a column's cells are pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows under headings.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<(String, Side)>,
    rows: Vec<Vec<(String, Tone)>>,
}

impl Table {
    /// A table without rows.
    pub(super) fn new<'a>(columns: impl IntoIterator<Item = (&'a str, Side)>) -> Self {
        let columns = columns.into_iter().map(|(title, side)| (title.into(), side)).collect();
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row of ordinary cells.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.toned_row(cells.into_iter().map(|cell| (cell, Tone::Plain)));
    }

    /// Adds a row of cells with tones.
    pub(super) fn toned_row(&mut self, cells: impl IntoIterator<Item = (String, Tone)>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table as text; nothing where there are no rows.
    pub(super) fn print(&self, style: &Style) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let widths = self.widths(style.width);
        let mut text = String::new();
        let headings = self.columns.iter().map(|(title, _)| (title.as_str(), Tone::Quiet));
        self.line(&mut text, headings, &widths, style);
        for row in &self.rows {
            let cells = row.iter().map(|(cell, tone)| (cell.as_str(), *tone));
            self.line(&mut text, cells, &widths, style);
        }
        text
    }

    fn widths(&self, width: usize) -> Vec<usize> {
        let mut widths: Vec<usize> = self.columns.iter().map(|(title, _)| length(title)).collect();
        for row in &self.rows {
            for (width, (cell, _)) in widths.iter_mut().zip(row) {
                *width = (*width).max(length(cell));
            }
        }
        let gaps = GAP.len() * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > width {
            let Some(widest) = widths.iter_mut().max_by_key(|width| **width) else { break };
            if *widest <= COLUMN_WIDTH_MIN {
                break;
            }
            *widest -= 1;
        }
        widths
    }

    fn line<'a>(
        &self,
        text: &mut String,
        cells: impl Iterator<Item = (&'a str, Tone)>,
        widths: &[usize],
        style: &Style,
    ) {
        let start = text.len();
        for (index, (cell, tone)) in cells.enumerate() {
            let (Some(width), Some((_, side))) = (widths.get(index), self.columns.get(index))
            else {
                break;
            };
            if index > 0 {
                text.push_str(GAP);
            }
            let cell = shortened(&one_line(cell), *width);
            let padding = " ".repeat(width - length(&cell));
            let cell = style.paint(tone, &cell);
            match side {
                Side::Left => text.extend([cell, padding]),
                Side::Right => text.extend([padding, cell]),
            }
        }
        let end = text.trim_end().len().max(start);
        text.truncate(end);
        text.push('\n');
    }
}

/// How many columns of a terminal `text` takes, near enough for Latin scripts.
pub(super) fn length(text: &str) -> usize {
    text.chars().count()
}

/// `text` in at most `width` characters.
pub(super) fn shortened(text: &str, width: usize) -> String {
    if length(text) <= width {
        return text.into();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}
