//! Cost against size, drawn with both axes logarithmic.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

/// A name, a value for each size, and the same for a second, thinner line of the same colour.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) values: Vec<(f64, f64)>,
    pub(crate) second: Vec<(f64, f64)>,
}

const DIMENSIONS: (u32, u32) = (900, 560);
/// Pixels to the right of the lines, for their names.
const NAMES_WIDTH: u32 = 170;
/// Pixels from one name to the next.
const NAME_HEIGHT: i32 = 15;

/// Draws `lines` into an SVG file.
///
/// # Errors
///
/// The file cannot be written.
pub(crate) fn write(
    path: impl AsRef<Path>,
    caption: &str,
    lines: &[Line],
) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::new(path.as_ref(), DIMENSIONS).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(caption, ("sans-serif", 17))
        .margin(12)
        .margin_right(NAMES_WIDTH)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d((8e3_f64..1.1e6).log_scale(), (10_f64..1e6).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("batches that both hold")
        .y_desc("bytes, both directions")
        .x_label_formatter(&|batches| format!("{batches:.0}"))
        .y_label_formatter(&|bytes| format!("{bytes:.0}"))
        .light_line_style(WHITE)
        .draw()?;
    let mut names = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let colour = Palette99::pick(index).to_rgba();
        for (points, width) in [(&line.values, 2), (&line.second, 1)] {
            let style = colour.stroke_width(width);
            chart.draw_series(LineSeries::new(points.iter().copied(), style).point_size(width))?;
        }
        if let Some(last) = line.values.last() {
            names.push((chart.backend_coord(last), colour, line.name.as_str()));
        }
    }
    names.sort_by_key(|((_, y), _, _)| *y);
    let mut free = 0;
    for ((x, y), colour, name) in names {
        let at = y.max(free);
        free = at + NAME_HEIGHT;
        let style = ("sans-serif", 13).into_font().color(&colour);
        area.draw(&Text::new(name, (x + 12, at - NAME_HEIGHT / 2), style))?;
    }
    area.present()?;
    Ok(())
}
