//! What a run can get wrong.

use fieldmesh_model::{BatchId, DeviceId};

use crate::plan::Plan;

/// A property that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// P1: after a long calm a replica holds other batches than were made.
    #[error("P1: node {node} holds {held} of {made} batches after the calm")]
    NotConverged {
        /// The node.
        node: usize,
        /// What it holds.
        held: usize,
        /// What was made durable anywhere.
        made: usize,
    },
    /// P1: the policy items differ.
    #[error("P1: node {node} holds another policy")]
    PolicyDiffers {
        /// The node.
        node: usize,
    },
    /// P8: a member has filled the policy.
    #[error("P8: node {node} holds {held} policy items, limit is {limit}")]
    PolicyFlooded {
        /// The node.
        node: usize,
        /// What it holds.
        held: usize,
        /// What was made, and what the hostile members may add.
        limit: usize,
    },
    /// P1: a replica holds a batch that nobody made.
    #[error("P1: node {node} holds {batch}, which nobody made")]
    Invented {
        /// The node.
        node: usize,
        /// The batch.
        batch: BatchId,
    },
    /// P2: a comparison of equal sets costs too much, or does not take place.
    #[error("P2: an idle check cost {control} control and {data} data bytes in {checks} checks")]
    IdleCost {
        /// Bytes of control messages, both ways.
        control: u64,
        /// Bytes of the data streams.
        data: u64,
        /// How often both sides were in step meanwhile.
        checks: u64,
    },
    /// P2: finding a recent difference costs too much.
    #[error("P2: finding {differences} recent batches cost {bytes} bytes, limit is {limit}")]
    RecentCost {
        /// How many batches differed.
        differences: u64,
        /// Control bytes, both ways.
        bytes: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// P3: cuts cost too much retransmission.
    #[error("P3: {bytes} data bytes arrived in spite of {cuts} cuts, limit is {limit}")]
    Retransmission {
        /// Bytes delivered by data streams.
        bytes: u64,
        /// How often a conversation was cut.
        cuts: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// P4: repeated messages changed a set.
    #[error("P4: replayed messages changed the set of node {node}")]
    ReplayChanged {
        /// The node.
        node: usize,
    },
    /// P5: something was sent twice in one conversation.
    #[error("P5: node {node} sent {batch} twice in one conversation")]
    SentTwice {
        /// The sender.
        node: usize,
        /// The batch.
        batch: BatchId,
    },
    /// P5: something was sent to the peer that it came from.
    #[error("P5: node {node} sent {batch} back to the peer that it came from")]
    SentBack {
        /// The sender.
        node: usize,
        /// The batch.
        batch: BatchId,
    },
    /// P5: something was sent that the peer had.
    #[error("P5: {count} batches were sent to a peer that had them")]
    SentNeedlessly {
        /// How many.
        count: u64,
    },
    /// P11: a replica says that it holds what its disk does not.
    #[error("P11: the set of node {node} is not what its disk holds")]
    NotDurable {
        /// The node.
        node: usize,
    },
    /// P11: in step was said although one side lacked something.
    #[error("P11: node {node} was in step with a peer that lacked {lacking} of its batches")]
    NotInStep {
        /// The node.
        node: usize,
        /// How many batches the dialling side lacked.
        lacking: usize,
    },
    /// P11: a receipt names what a crash would lose.
    #[error("P11: node {node} signed a receipt for what its disk does not hold")]
    PromisedTooMuch {
        /// The signer.
        node: usize,
    },
    /// P11: a proof goes beyond what was signed.
    #[error("P11: node {node} takes for proven what nobody signed for")]
    ClaimsTooMuch {
        /// Who does.
        node: usize,
    },
    /// P11: a device has let go what was not safe.
    #[error("P11: node {node} let {batch} go, which no relay holds")]
    LetGoUnsafe {
        /// Which one.
        node: usize,
        /// What.
        batch: BatchId,
    },
    /// P11: nobody acknowledges what a relay holds.
    #[error("P11: node {node} does not learn that a relay holds its batch {batch}")]
    NeverSafe {
        /// The author.
        node: usize,
        /// The batch.
        batch: BatchId,
    },
    /// P11: what was proven is not any longer, although its receipts are kept.
    #[error("P11: node {node} forgets over a restart that {batch} is safe")]
    ProofForgotten {
        /// Who forgets.
        node: usize,
        /// The batch.
        batch: BatchId,
    },
    /// P9: a batch does not count although the revocation named it.
    #[error("P9: {batch} does not count, although whoever revoked its author held it")]
    LostByRevocation {
        /// The batch.
        batch: BatchId,
    },
    /// P9: the chain of an honest author has a fork or a gap.
    #[error("P9: node {node} knows a fork or a gap in a chain of {author}, which made none")]
    ChainBroken {
        /// Who knows it.
        node: usize,
        /// The author.
        author: DeviceId,
    },
    /// P10: other batches count than the policy items say.
    #[error("P10: node {node} counts other batches than it should")]
    OtherCount {
        /// The node.
        node: usize,
    },
    /// P6: a batch was given to a peer that does not want it or may not read it.
    #[error("P6: node {node} sent {batch} to a peer outside of whose part it lies")]
    SentOutside {
        /// The sender.
        node: usize,
        /// The batch.
        batch: BatchId,
    },
    /// P14: other batches went before a critical one.
    #[error("P14: {bytes} bytes of other batches went before the critical batch {batch}")]
    Overtaken {
        /// The critical batch.
        batch: BatchId,
        /// Bytes that arrived before it; 0 if it did not arrive.
        bytes: u64,
    },
    /// P18: a relay that keeps something back is not found out.
    #[error("P18: node {node} does not report the relay that kept {batch} back")]
    NotReported {
        /// Who should.
        node: usize,
        /// The batch.
        batch: BatchId,
    },
    /// P18: a relay is accused of what it has not done.
    #[error("P18: node {node} reports a relay that kept nothing back")]
    FalselyReported {
        /// Who does.
        node: usize,
    },
    /// P12: the root depends on the history.
    #[error("P12: the root of node {node} depends on its history")]
    RootNotCanonical {
        /// The node.
        node: usize,
    },
    /// P7: a batch did not get to a node by way of others.
    #[error("P7: {batch} was not passed on to node {node}")]
    NotPassedOn {
        /// Who lacks it.
        node: usize,
        /// The batch.
        batch: BatchId,
    },
    /// P13: memory is not bounded.
    #[error("P13: node {node} holds {bytes} bytes of {what}, limit is {limit}")]
    MemoryGrows {
        /// The node.
        node: usize,
        /// What it holds.
        what: &'static str,
        /// How much.
        bytes: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// P1: a conversation leaves out what the policy allows by now.
    #[error("P1: node {node} still refuses {count} honest batches of one peer")]
    StillRefused {
        /// Who refuses.
        node: usize,
        /// How many.
        count: u64,
    },
    /// P13: two conversations with one peer go on side by side.
    #[error("P13: node {node} keeps two links to one peer")]
    TwoLinks {
        /// The node.
        node: usize,
    },
    /// P1, P11, P15 or P17: records are not what they should be.
    #[error("P1: node {node} has other records than it should: {what}")]
    RecordsDiffer {
        /// The node.
        node: usize,
        /// What is different.
        what: String,
    },
    /// Something of one tenant came to a node of another one.
    #[error("node {node} was told something of another tenant")]
    Leaked {
        /// The node.
        node: usize,
    },
    /// A wrong clock was not told as it is.
    #[error("node {node} says that the peer's clock is {skew} ms ahead, but it is {truth} ms")]
    SkewWrong {
        /// Who says it.
        node: usize,
        /// What it says.
        skew: i64,
        /// What is true.
        truth: i64,
    },
    /// Code that no input should make panic did.
    #[error("P8: panic: {text}")]
    Panicked {
        /// The words of the panic.
        text: String,
    },
    /// A hash is the same on two connections.
    #[error("P8: node {node} shows the same hash on two connections")]
    NotKeyed {
        /// Who shows it.
        node: usize,
    },
    /// An honest peer was accused.
    #[error("node {node} closed a link to an honest peer: {reason}")]
    Accused {
        /// Who closed.
        node: usize,
        /// Why.
        reason: String,
    },
    /// An honest batch was refused.
    #[error("node {node} refused the honest batch {batch}")]
    Refused {
        /// Who refused.
        node: usize,
        /// The batch.
        batch: BatchId,
    },
    /// What was purged is somewhere still, or was stored by a node that knew of it.
    #[error("node {node} has contents of {batch} that were purged")]
    NotErased {
        /// The node.
        node: usize,
        /// The batch.
        batch: BatchId,
    },
    /// What was erased from a batch cannot be told from damage any more.
    #[error("node {node} holds {batch}, whose signature or gaps nothing explains")]
    Unexplained {
        /// The node.
        node: usize,
        /// The batch.
        batch: BatchId,
    },
    /// Work goes on without end.
    #[error("{steps} steps within one millisecond; something spins")]
    Spins {
        /// How many.
        steps: u64,
    },
}

impl Violation {
    /// Whether it is the same property that does not hold, whatever the numbers.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// A failed run, with what is needed to repeat it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("plan {}, seed {seed}: {violation}\n  repeat with: {}", plan.name, self.command())]
pub struct Failure {
    /// The plan.
    pub plan: Plan,
    /// The seed.
    pub seed: u64,
    /// What went wrong.
    pub violation: Violation,
}

impl Failure {
    /// The command that repeats the run and says what happens in it.
    pub fn command(&self) -> String {
        let mut command =
            format!("cargo sim -- --plan {} --from {} --seeds 1", self.plan.name, self.seed);
        for change in self.plan.changes() {
            command.push_str(&format!(" --set {change}"));
        }
        command + " --log"
    }
}
