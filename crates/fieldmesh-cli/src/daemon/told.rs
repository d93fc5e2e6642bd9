//! Work that tells what is going on, as a stream of JSON lines.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use axum::body::Bytes;
use fieldmesh::api::{Problem, Progress};
use futures::future::BoxFuture;
use futures::{FutureExt as _, Stream};
use serde::Serialize;

use crate::backend::Listener;
use crate::wire::lines::{Line, line};

/// How many lines of progress wait for a slow reader; refused rows are never left out.
const PROGRESS_WAITING_MAX: usize = 64;

/// The stream. Dropping it drops the work, so a command that is interrupted leaves nothing running.
pub(super) struct Told<T> {
    work: Option<BoxFuture<'static, Result<T, Problem>>>,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<Progress>,
    reader: Option<Waker>,
}

impl Waiting {
    fn add(&mut self, progress: Progress) {
        let is_count = matches!(
            progress,
            Progress::Import { .. } | Progress::Sync { .. } | Progress::Compact { .. }
        );
        if is_count && self.lines.len() >= PROGRESS_WAITING_MAX {
            return;
        }
        self.lines.push_back(progress);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// Streams what `work` tells its listener, and its report at the end.
pub(super) fn told<T>(
    work: impl FnOnce(Listener) -> BoxFuture<'static, Result<T, Problem>>,
) -> Told<T> {
    let waiting = Arc::new(Mutex::new(Waiting::default()));
    let for_listener = Arc::clone(&waiting);
    let listener: Listener = Box::new(move |progress| {
        for_listener.lock().unwrap_or_else(PoisonError::into_inner).add(progress);
    });
    Told { work: Some(work(listener)), waiting }
}

impl<T> Told<T> {
    fn next_progress(&self, context: &Context<'_>) -> Option<Progress> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let next = waiting.lines.pop_front();
        if next.is_none() {
            waiting.reader = Some(context.waker().clone());
        }
        next
    }
}

impl<T: Serialize + Send + 'static> Stream for Told<T> {
    type Item = Result<Bytes, serde_json::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(work) = self.work.as_mut() else { return Poll::Ready(None) };
        let done = work.poll_unpin(context);
        // What was told before the end comes before the report.
        if let Some(progress) = self.next_progress(context) {
            if let Poll::Ready(result) = done {
                self.work = Some(std::future::ready(result).boxed());
            }
            return Poll::Ready(Some(encoded(&Line::<T>::Progress(progress))));
        }
        match done {
            Poll::Pending => Poll::Pending,
            Poll::Ready(result) => {
                self.work = None;
                Poll::Ready(Some(encoded(&match result {
                    Ok(report) => Line::Report { report },
                    Err(problem) => Line::Problem { problem },
                })))
            }
        }
    }
}

fn encoded<T: Serialize>(value: &Line<T>) -> Result<Bytes, serde_json::Error> {
    line(value).map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use fieldmesh::api::{ImportReport, RefusedRow};
    use futures::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn every_refused_row_comes_before_the_report_and_counts_may_be_left_out() {
        let stream = told(|mut listener| {
            async move {
                for row in 1..=500 {
                    listener(Progress::Refused(RefusedRow { row, faults: Vec::new() }));
                    listener(Progress::Import { rows: row, bytes: row });
                }
                Ok(ImportReport { rows: 500, ..ImportReport::default() })
            }
            .boxed()
        });
        let lines: Vec<Line<ImportReport>> =
            stream.map(|bytes| serde_json::from_slice(&bytes.unwrap()).unwrap()).collect().await;
        let refused = lines
            .iter()
            .filter(|line| matches!(line, Line::Progress(Progress::Refused(_))))
            .count();
        assert_eq!(refused, 500);
        assert!(lines.len() < 1_000);
        assert!(matches!(lines.last(), Some(Line::Report { report }) if report.rows == 500));
    }
}
