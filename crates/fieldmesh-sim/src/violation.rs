//! What a run can get wrong.

use fieldmesh_model::BatchId;

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
    /// P12: the root depends on the history.
    #[error("P12: the root of node {node} depends on its history")]
    RootNotCanonical {
        /// The node.
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
    /// Work goes on without end.
    #[error("{steps} steps within one run; something spins")]
    Spins {
        /// How many.
        steps: u64,
    },
}

/// A failed run, with what is needed to repeat it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("plan {plan}, seed {seed}: {violation}\nrepeat with: {}", self.command())]
pub struct Failure {
    /// The name of the plan.
    pub plan: &'static str,
    /// The seed.
    pub seed: u64,
    /// What went wrong.
    pub violation: Violation,
}

impl Failure {
    /// The command that repeats the run.
    pub fn command(&self) -> String {
        format!("cargo sim -- --from {} --seeds 1 --plan {}", self.seed, self.plan)
    }
}
