//! Replicas that talk through memory, with a disk that is durable at once unless told otherwise.

mod crew;
mod hostile;
mod links;
mod meeting;
