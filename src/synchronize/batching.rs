use super::Work;
use crate::model::{Answer, Call, LinkUpdate, ParkReason};

/// How a synchronizer puts changes of several keys into one call. Pure, like the synchronizer: the
/// same members give the same call.
pub trait Batching: Send + Sync {
    /// Which of its calls this change goes into: changes with the same number may share one.
    fn kind(&self, work: &Work<'_>) -> usize;

    /// The call for all of these. Each of them has been asked about by itself before
    /// ([`super::Synchronizer::next_step`]) and had a call of its own.
    fn call(&self, members: &[Work<'_>]) -> Result<Call, Rejection>;

    /// What an answer with an accepted status says about them.
    fn results(&self, members: &[Work<'_>], answer: &Answer) -> Results;
}

/// What became of the members of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Results {
    /// One result for each, in their order.
    Each(Vec<Result<LinkUpdate, Rejection>>),
    /// The remote took none of them, and one may be to blame.
    Refused(Rejection),
}

/// Why a change cannot be sent as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Which kind of trouble it is.
    pub reason: ParkReason,
    /// What is wrong, where, and what to do.
    pub message: String,
}
