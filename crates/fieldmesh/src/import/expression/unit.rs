//! The units that `convert` knows: each a multiple of its dimension's base.

use super::ExpressionError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dimension {
    Volume,
    Pressure,
    Length,
    Time,
}

/// Name, dimension, and how many of the base (m3, Pa, m, s) one of it is.
const UNITS: [(&str, Dimension, f64); 18] = [
    ("m3", Dimension::Volume, 1.0),
    ("l", Dimension::Volume, 0.001),
    ("gal", Dimension::Volume, 0.003_785_411_784),
    ("bbl", Dimension::Volume, 0.158_987_294_928),
    ("cf", Dimension::Volume, 0.028_316_846_592),
    ("MCF", Dimension::Volume, 28.316_846_592),
    ("MMCF", Dimension::Volume, 28_316.846_592),
    ("Pa", Dimension::Pressure, 1.0),
    ("kPa", Dimension::Pressure, 1_000.0),
    ("bar", Dimension::Pressure, 100_000.0),
    ("PSI", Dimension::Pressure, 6_894.757_293_168),
    ("mm", Dimension::Length, 0.001),
    ("in", Dimension::Length, 0.0254),
    ("in64", Dimension::Length, 0.0254 / 64.0),
    ("m", Dimension::Length, 1.0),
    ("min", Dimension::Time, 60.0),
    ("h", Dimension::Time, 3_600.0),
    ("d", Dimension::Time, 86_400.0),
];

/// How many of `to` one `from` is.
pub(super) fn factor(from: &str, to: &str) -> Result<f64, ExpressionError> {
    let find = |name: &str| {
        UNITS.iter().find(|unit| unit.0 == name).ok_or_else(|| ExpressionError::UnknownUnit {
            name: name.into(),
            known: UNITS.iter().map(|unit| unit.0).collect::<Vec<_>>().join(", "),
        })
    };
    let (from, to) = (find(from)?, find(to)?);
    if from.1 != to.1 {
        return Err(ExpressionError::UnitsDiffer { from: from.0.into(), to: to.0.into() });
    }
    Ok(from.2 / to.2)
}
