//! Reads the body of a request: all of it, decompressed, and no more than is allowed.

use std::io::{self, Read};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use fieldmesh_dialect::Refusal;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout};

use crate::budget::{Excess, Held};

/// The slowest that a body may come, in bytes a second.
const RATE_MIN: u64 = 256;
/// How far ahead of that a body can be, in terms of the patience: who has sent much at once may not
/// dawdle for hours with the rest.
const AHEAD_MAX: u32 = 4;
/// How long a body may take at any pace. A photo of 5 MB over GPRS, 3 KB a second, takes 28 minutes.
const TIME_MAX: Duration = Duration::from_secs(30 * 60);
/// How fast one has come on the whole that takes longer, in bytes a second: a queue of weeks, over a
/// slow link.
const LONG_RATE_MIN: u64 = 1_024;
/// How much is decompressed between two looks at the limits.
const STEP: usize = 64 * 1024;
/// The largest window of zstd, as a power of two: 8 MiB, which every encoder stays within unasked.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// The most bytes that are read of a body that nobody wants, so that its sender hears why.
const DRAIN_MAX: usize = 1024 * 1024;
/// How long that may take.
const DRAIN_PATIENCE: Duration = Duration::from_secs(2);
/// After how many seconds to come again when too many bodies are in memory.
const RETRY_AFTER: u32 = 5;

/// Why there is no body.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// It is not what may be sent.
    Refused(Refusal),
    /// It did not come in time.
    Slow,
    /// Whoever sent it is gone.
    Gone,
}

impl From<Refusal> for BodyError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Excess> for BodyError {
    fn from(_: Excess) -> Self {
        Self::Refused(Refusal::Unavailable { retry_after: RETRY_AFTER })
    }
}

/// Until when a body has to come, counted from its beginning.
#[derive(Debug)]
struct Pace {
    patience: Duration,
    until: Duration,
    bytes: u64,
}

impl Pace {
    fn new(patience: Duration) -> Self {
        Self { patience, until: patience, bytes: 0 }
    }

    /// How long the next bytes may take; none where the body is too late already.
    fn wait(&self, since: Duration) -> Option<Duration> {
        let steady = TIME_MAX.max(Duration::from_secs(self.bytes / LONG_RATE_MIN));
        self.until.min(steady).checked_sub(since).map(|left| left.min(self.patience))
    }

    /// Notes that so many bytes came.
    fn come(&mut self, since: Duration, bytes: usize) {
        self.bytes += bytes as u64;
        let earned = Duration::from_millis(bytes as u64 * 1_000 / RATE_MIN);
        self.until = (self.until + earned).min(since + self.patience * AHEAD_MAX);
    }
}

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Plain,
    Gzip,
    Zstd,
}

impl Coding {
    fn named(name: Option<&str>) -> Result<Self, Refusal> {
        match name.unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Plain),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            _ => {
                let wanted = "application/json, and Content-Encoding gzip, zstd or none";
                Err(Refusal::WrongType { wanted: wanted.to_owned() })
            }
        }
    }
}

/// Reads `body`, which `coding` says how it is compressed, of at most `bytes_max`.
pub(crate) async fn read(
    body: Body,
    coding: Option<&str>,
    bytes_max: usize,
    mut held: Held,
    patience: Duration,
) -> Result<(Vec<u8>, Held), BodyError> {
    let coding = Coding::named(coding)?;
    let sent = receive(body, bytes_max, &mut held, patience).await?;
    if coding == Coding::Plain || sent.is_empty() {
        return Ok((sent, held));
    }
    let inflating = tokio::task::spawn_blocking(move || {
        let inflated = inflate(coding, &sent, bytes_max, &mut held)?;
        Ok((inflated, held))
    });
    inflating.await.unwrap_or(Err(BodyError::Refused(Refusal::Failed)))
}

/// Reads a little of a body that is refused: a sender that is cut off would not hear why.
pub(crate) async fn drain(mut body: Body) {
    let reading = async {
        let mut bytes = 0;
        while bytes < DRAIN_MAX
            && let Some(Ok(frame)) = body.frame().await
        {
            bytes += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    // Whoever is still sending then hears it or not.
    let _ = timeout(DRAIN_PATIENCE, reading).await;
}

async fn receive(
    mut body: Body,
    bytes_max: usize,
    held: &mut Held,
    patience: Duration,
) -> Result<Vec<u8>, BodyError> {
    let (begun, mut bytes) = (Instant::now(), Vec::new());
    let mut pace = Pace::new(patience);
    // Rather now than when nearly all of it has come.
    let length = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
    if length.is_some_and(|length| length <= bytes_max && held.has_room(length).is_err()) {
        drain(body).await;
        return Err(BodyError::from(Excess::Others));
    }
    loop {
        let Some(wait) = pace.wait(begun.elapsed()) else { return Err(BodyError::Slow) };
        let frame = match timeout(wait, body.frame()).await {
            Err(_) => return Err(BodyError::Slow),
            Ok(None) => return Ok(bytes),
            Ok(Some(Err(_))) => return Err(BodyError::Gone),
            Ok(Some(Ok(frame))) => frame,
        };
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > bytes_max {
            drain(body).await;
            return Err(Refusal::TooLarge { bytes_max }.into());
        }
        if let Err(excess) = held.grow(data.len()) {
            drain(body).await;
            return Err(excess.into());
        }
        bytes.extend_from_slice(data);
        pace.come(begun.elapsed(), data.len());
    }
}

fn inflate(
    coding: Coding,
    sent: &[u8],
    bytes_max: usize,
    held: &mut Held,
) -> Result<Vec<u8>, BodyError> {
    let mut inflated = Vec::new();
    let mut reader: Box<dyn Read> = match coding {
        Coding::Plain => Box::new(sent),
        Coding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(sent)),
        Coding::Zstd => {
            let decoder = zstd::Decoder::with_buffer(sent).and_then(|mut decoder| {
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Ok(decoder)
            });
            Box::new(decoder.map_err(|_| damaged())?)
        }
    };
    loop {
        match read_step(&mut reader, &mut inflated) {
            Err(_) => return Err(damaged().into()),
            Ok(0) => return Ok(inflated),
            Ok(_) if inflated.len() > bytes_max => {
                return Err(Refusal::TooLarge { bytes_max }.into());
            }
            Ok(bytes) => held.grow(bytes)?,
        }
    }
}

fn read_step(reader: &mut dyn Read, out: &mut Vec<u8>) -> io::Result<usize> {
    reader.take(STEP as u64).read_to_end(out)
}

fn damaged() -> Refusal {
    Refusal::fault("", "Body is not what its Content-Encoding says")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::budget::{Budget, Shares, Taker};

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    async fn read_as(coding: &str, bytes: Vec<u8>, bytes_max: usize) -> Result<Vec<u8>, BodyError> {
        let held = Budget::new(Shares::whole(1 << 20)).hold(Taker::only());
        let patience = Duration::from_secs(60);
        let read = read(Body::from(bytes), Some(coding), bytes_max, held, patience).await;
        read.map(|(bytes, _)| bytes)
    }

    #[tokio::test]
    async fn compressed_bodies_are_read_and_damaged_ones_refused() {
        let text = b"a well, a well, a well".repeat(50);
        let zstd = zstd::encode_all(&text[..], 3).unwrap();
        for (coding, bytes) in [("gzip", gzip(&text)), ("ZSTD", zstd), ("identity", text.clone())] {
            assert_eq!(read_as(coding, bytes, 4_096).await.unwrap(), text, "{coding}");
        }
        for coding in ["gzip", "zstd"] {
            let refused = read_as(coding, b"no such thing".to_vec(), 4_096).await;
            assert!(matches!(refused, Err(BodyError::Refused(Refusal::Invalid { .. }))));
        }
        let refused = read_as("br", text, 4_096).await;
        assert!(matches!(refused, Err(BodyError::Refused(Refusal::WrongType { .. }))));
    }

    #[tokio::test]
    async fn a_bomb_is_not_inflated_beyond_its_limit() {
        let zeros = vec![0; 64 << 20];
        for (coding, bomb) in
            [("gzip", gzip(&zeros)), ("zstd", zstd::encode_all(&zeros[..], 3).unwrap())]
        {
            assert!(bomb.len() < 100_000);
            let refused = read_as(coding, bomb, 100_000).await;
            assert!(matches!(refused, Err(BodyError::Refused(Refusal::TooLarge { .. }))));
        }
    }

    #[tokio::test]
    async fn all_bodies_together_stay_within_the_budget() {
        let budget = Budget::new(Shares { all: 1_000, tenant: 1_000, person: 700 });
        let patience = Duration::from_secs(60);
        let reading = |user: &str, bytes| {
            let taker = Taker::Person { tenant: "acme".into(), user: user.into() };
            read(Body::from(vec![0_u8; bytes]), None, 1_000, budget.hold(taker), patience)
        };
        let is_busy =
            |refused| matches!(refused, Err(BodyError::Refused(Refusal::Unavailable { .. })));
        let first = reading("ann", 600).await.unwrap();
        assert!(is_busy(reading("ann", 101).await), "one person does not get all");
        let second = reading("ben", 400).await.unwrap();
        assert!(is_busy(reading("eve", 1).await));
        drop((first, second));
        assert!(reading("ann", 600).await.is_ok());
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_has_sent_much_at_once_cannot_dawdle_with_the_rest_for_hours() {
        let patience = 30 * SECOND;
        let mut pace = Pace::new(patience);
        pace.come(SECOND, 20 << 20);
        let (mut since, mut waited) = (SECOND, Duration::ZERO);
        // A byte just before the patience ends, again and again.
        while let Some(wait) = pace.wait(since) {
            let wait = wait.min(29 * SECOND);
            since += wait.max(SECOND);
            waited += wait;
            pace.come(since, 1);
        }
        assert!(waited <= 4 * patience + 29 * SECOND, "{waited:?}");
    }

    /// How long a body may take of which so many bytes come each second, with half a minute without
    /// any in every five; half a day at the most.
    fn time_at(rate: usize) -> Duration {
        let (mut pace, mut since) = (Pace::new(30 * SECOND), Duration::ZERO);
        while let Some(wait) = pace.wait(since).filter(|_| since < 12 * 3_600 * SECOND) {
            let pause = if since.as_secs() % 300 == 270 { 29 * SECOND } else { SECOND };
            assert!(pause <= wait || since + pause > TIME_MAX, "{since:?}");
            since += pause;
            pace.come(since, rate);
        }
        since
    }

    #[test]
    fn a_body_of_a_slow_link_has_half_an_hour_and_longer_if_it_keeps_coming() {
        assert!((TIME_MAX..TIME_MAX + 60 * SECOND).contains(&time_at(600)));
        assert!(time_at(3_000) >= 12 * 3_600 * SECOND);
    }
}
