//! Replicas that talk through memory, with a disk that is durable at once unless told otherwise.

mod abuse;
pub(crate) mod crew;
mod dear;
mod hostile;
mod items;
mod lengths;
mod links;
mod losses;
mod meeting;
mod partial;
mod purges;
mod receipts;
mod runs;
mod setbacks;
mod standing;
mod versions;

/// Shows `visit` all orders of `things`.
pub(crate) fn in_every_order<T>(things: &mut [T], visit: &mut impl FnMut(&[T])) {
    permute(things, things.len(), visit);
}

/// Heap's algorithm over the first `count` things.
fn permute<T>(things: &mut [T], count: usize, visit: &mut impl FnMut(&[T])) {
    if count <= 1 {
        visit(things);
        return;
    }
    for index in 0..count {
        permute(things, count - 1, visit);
        things.swap(if count.is_multiple_of(2) { index } else { 0 }, count - 1);
    }
}
