//! Frames that come in: how many are expected, and how many wait to become durable.

use std::collections::VecDeque;

use super::assembly::Assembly;
use crate::error::SessionError;
use crate::interface::{FrameMark, Lane, Output, Partial, Received};
use crate::limits::{DATA_FRAME_MAX, FRAME_COST_MIN};
use crate::wire::{DataReader, Frame, Message};

/// The incoming half of the data streams.
pub(super) struct Receiver {
    readers: [DataReader; 3],
    assembly: Assembly,
    window: u64,
    /// Answers that the peer promised or was asked for; whole conversation.
    answers_expected: u64,
    answers_received: u64,
    unsettled_answers: u64,
    unsettled_frames: u64,
    unsettled_bytes: u64,
    credit_frames: u32,
    credit_bytes: u64,
    credit_repeated: u32,
}

impl Receiver {
    pub(super) fn new(window: u32, partials: Vec<Partial>) -> Self {
        Self {
            readers: Default::default(),
            assembly: Assembly::new(partials),
            window: u64::from(window),
            answers_expected: 0,
            answers_received: 0,
            unsettled_answers: 0,
            unsettled_frames: 0,
            unsettled_bytes: 0,
            credit_frames: 0,
            credit_bytes: 0,
            credit_repeated: 0,
        }
    }

    /// The beginnings of batches that the last conversation left.
    pub(super) fn kept(&self) -> &[Partial] {
        self.assembly.kept()
    }

    #[cfg(test)]
    pub(super) fn begun(&self) -> Vec<([u8; 32], usize)> {
        self.assembly.begun()
    }

    pub(super) fn take_partials(&mut self) -> Vec<Partial> {
        self.assembly.take()
    }

    /// The bytes it keeps: of frames that are not whole, and of batches that are not.
    pub(super) fn held(&self) -> usize {
        self.readers.iter().map(DataReader::held).sum::<usize>() + self.assembly.held()
    }

    /// The most bytes that may wait here.
    pub(super) const fn limit(&self) -> u64 {
        self.window + DATA_FRAME_MAX as u64
    }

    pub(super) fn read(
        &mut self,
        lane: Lane,
        bytes: &[u8],
        outputs: &mut VecDeque<Output>,
    ) -> Result<(), SessionError> {
        let limit = self.limit();
        self.readers[lane.index()].read(bytes, |frame: Frame| {
            self.unsettled_frames += 1;
            self.unsettled_bytes += frame.bytes.len() as u64;
            if self.unsettled_bytes > limit {
                return Err(SessionError::Flood { bytes: self.unsettled_bytes, limit });
            }
            let kind = frame.kind;
            let Some((bytes, frames, length)) = self.assembly.take_in(lane, frame)? else {
                return Ok(());
            };
            self.unsettled_bytes += surcharge(length);
            if kind.is_answer() {
                self.answers_received += 1;
                self.unsettled_answers += 1;
            }
            let frame = FrameMark::of(kind, frames, length);
            outputs.push_back(Output::Received(Received { frame, bytes }));
            Ok(())
        })
    }

    /// A received frame is durable or judged.
    pub(super) fn settled(&mut self, frame: FrameMark) {
        let bytes = frame.length as u64;
        if frame.is_answer() {
            self.unsettled_answers = self.unsettled_answers.saturating_sub(1);
        }
        self.unsettled_frames = self.unsettled_frames.saturating_sub(u64::from(frame.frames));
        self.unsettled_bytes = self.unsettled_bytes.saturating_sub(bytes + surcharge(frame.length));
        self.credit_frames = self.credit_frames.saturating_add(frame.frames);
        self.credit_bytes = self.credit_bytes.saturating_add(bytes);
    }

    /// A frame that was passed on brought what was here already.
    pub(super) fn repeated(&mut self, frame: FrameMark) {
        self.credit_repeated += u32::from(!frame.is_answer());
    }

    /// What has settled since the last credit, to be told to the peer.
    pub(super) fn take_credit(&mut self) -> Option<Message> {
        let frames = std::mem::take(&mut self.credit_frames);
        let bytes = std::mem::take(&mut self.credit_bytes);
        let repeated = std::mem::take(&mut self.credit_repeated);
        (frames > 0).then_some(Message::Credit { frames, bytes, repeated })
    }

    pub(super) fn expect_more(&mut self, count: u64) {
        self.answers_expected = self.answers_expected.saturating_add(count);
    }

    pub(super) fn expect_less(&mut self, count: u32) {
        self.answers_expected = self.answers_expected.saturating_sub(u64::from(count));
    }

    /// Whether every expected answer is here and settled.
    pub(super) const fn has_answers(&self) -> bool {
        self.answers_received >= self.answers_expected && self.unsettled_answers == 0
    }

    pub(super) const fn is_idle(&self) -> bool {
        self.unsettled_frames == 0
    }
}

/// What a frame of `length` bytes takes of the window beyond these.
const fn surcharge(length: usize) -> u64 {
    FRAME_COST_MIN.saturating_sub(length) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::INGEST_WINDOW_DEFAULT;
    use crate::wire::{DataWriter, FrameKind};

    #[test]
    fn a_sender_that_ignores_the_window_is_cut_off_before_memory_fills() {
        let mut receiver = Receiver::new(INGEST_WINDOW_DEFAULT, Vec::new());
        let mut writer = DataWriter::default();
        let mut outputs = VecDeque::new();
        let mut frame = vec![0; 60_000];
        for index in 0..100_u64 {
            blake3::Hasher::new().update(&index.to_be_bytes()).finalize_xof().fill(&mut frame);
            writer.write(FrameKind::PushedBatch, &frame).unwrap();
            let refused = receiver.read(Lane::Recent, &writer.flush().unwrap(), &mut outputs);
            if let Err(error) = refused {
                assert!(matches!(error, SessionError::Flood { .. }), "{error:?}");
                assert!(outputs.len() < 30);
                return;
            }
        }
        panic!("the flood is not noticed");
    }

    #[test]
    fn a_few_bytes_that_expand_to_tiny_frames_are_cut_off_before_memory_fills() {
        let mut receiver = Receiver::new(INGEST_WINDOW_DEFAULT, Vec::new());
        let frames = receiver.limit() as usize / FRAME_COST_MIN;
        let mut writer = DataWriter::default();
        let mut outputs = VecDeque::new();
        for _ in 0..=frames {
            writer.write(FrameKind::PushedBatch, b"").unwrap();
        }
        receiver.read(Lane::Recent, &writer.flush().unwrap(), &mut outputs).unwrap();
        writer.write(FrameKind::PushedBatch, b"").unwrap();
        let refused = receiver.read(Lane::Recent, &writer.flush().unwrap(), &mut outputs);
        assert!(matches!(refused, Err(SessionError::Flood { .. })), "{refused:?}");
        for output in outputs {
            let Output::Received(received) = output else { panic!("no frame") };
            receiver.settled(received.frame);
        }
        assert_eq!(receiver.unsettled_bytes, 0);
    }

    #[test]
    fn credit_covers_what_has_settled_once() {
        let mut receiver = Receiver::new(INGEST_WINDOW_DEFAULT, Vec::new());
        let mut writer = DataWriter::default();
        let mut outputs = VecDeque::new();
        writer.write(FrameKind::Batch, b"12345").unwrap();
        receiver.expect_more(1);
        receiver.read(Lane::Recent, &writer.flush().unwrap(), &mut outputs).unwrap();
        let Some(Output::Received(received)) = outputs.pop_front() else { panic!("no frame") };
        assert!(!receiver.has_answers() && receiver.take_credit().is_none());
        receiver.settled(received.frame);
        let credit = Message::Credit { frames: 1, bytes: 5, repeated: 0 };
        assert_eq!(receiver.take_credit(), Some(credit));
        assert!(receiver.has_answers() && receiver.take_credit().is_none());
    }
}
