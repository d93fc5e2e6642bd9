//! Floats that somebody read off an instrument: a whole number and how many decimals it has.

/// The most decimals that are tried; more have no instrument and no map.
const DECIMALS_MAX: usize = 9;
/// Beyond this a float does not hold every whole number.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
const POWERS: [f64; DECIMALS_MAX + 1] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// The fewest decimals that say all of `floats` exactly, and the whole numbers with these.
pub(super) fn to_wholes(floats: &[u64]) -> Option<(u8, Vec<i64>)> {
    let mut decimals = 0;
    for bits in floats {
        decimals = (decimals..=DECIMALS_MAX).find(|decimals| whole(*bits, *decimals).is_some())?;
    }
    let wholes: Option<Vec<i64>> = floats.iter().map(|bits| whole(*bits, decimals)).collect();
    Some((decimals as u8, wholes?))
}

/// The float that `whole` with so many decimals is.
///
/// Both are exact, so the quotient is the float nearest to the decimal number: the one that reading
/// its digits gives.
pub(super) fn to_float(whole: i64, decimals: u8) -> Option<u64> {
    POWERS.get(usize::from(decimals)).map(|power| (whole as f64 / power).to_bits())
}

fn whole(bits: u64, decimals: usize) -> Option<i64> {
    let scaled = (f64::from_bits(bits) * POWERS[decimals]).round();
    if scaled.is_nan() || scaled.abs() > WHOLE_MAX {
        return None;
    }
    let whole = scaled as i64;
    (to_float(whole, decimals as u8) == Some(bits)).then_some(whole)
}
