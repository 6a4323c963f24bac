//! Pausing, resuming and canceling. Each writes the job's row in the transaction of the statement that asks for it.

use super::{Error, JobId, JobRecord, Result, Status};
use crate::kv::Txn;

/// What can be done to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Leave it where it is.
    Pause,
    /// Go on with it.
    Resume,
    /// Undo it.
    Cancel,
}

impl Command {
    fn done(self) -> &'static str {
        match self {
            Command::Pause => "paused",
            Command::Resume => "resumed",
            Command::Cancel => "canceled",
        }
    }

    /// The state it leads to; nothing if it is not possible in this one.
    fn leads_to(self, status: Status) -> Option<Status> {
        use Status::{CancelRequested, Canceled, PauseRequested, Paused, Running};
        match (self, status) {
            (Command::Pause, Running) => Some(PauseRequested),
            (Command::Pause, same @ (PauseRequested | Paused)) => Some(same),
            (Command::Resume, Paused | Running) => Some(Running),
            (Command::Cancel, Running | PauseRequested | Paused | CancelRequested) => Some(CancelRequested),
            (Command::Cancel, Canceled) => Some(Canceled),
            _ => None,
        }
    }

    /// Whether it changes anything about a job in this state.
    pub fn changes(self, status: Status) -> bool {
        self.leads_to(status).is_some_and(|next| next != status)
    }
}

/// Does it; whether that changed anything. What is so already is left as it is, what cannot be is an error. After the commit of
/// a change, the registry must [attend](super::Registry::attend) to the job.
pub async fn apply(txn: &dyn Txn, id: JobId, command: Command, reason: Option<&str>) -> Result<bool> {
    let mut record = JobRecord::read(txn, id).await?;
    let next = command.leads_to(record.status);
    let next = next.ok_or(Error::WrongState { status: record.status.name(), done: command.done() })?;
    if next == record.status {
        return Ok(false);
    }
    record.status = next;
    record.pause_reason = reason.map(String::from).filter(|_| command == Command::Pause);
    record.write(txn)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_in_every_state() {
        use Command::{Cancel, Pause, Resume};
        use Status::{CancelRequested, Canceled, Failed, PauseRequested, Paused, Reverting, Running, Succeeded};
        for (status, pause, resume, cancel) in [
            (Running, Some(PauseRequested), Some(Running), Some(CancelRequested)),
            (PauseRequested, Some(PauseRequested), None, Some(CancelRequested)),
            (Paused, Some(Paused), Some(Running), Some(CancelRequested)),
            (CancelRequested, None, None, Some(CancelRequested)),
            (Reverting, None, None, None),
            (Succeeded, None, None, None),
            (Failed, None, None, None),
            (Canceled, None, None, Some(Canceled)),
        ] {
            let found = [Pause, Resume, Cancel].map(|command| command.leads_to(status));
            assert_eq!(found, [pause, resume, cancel], "{status:?}");
        }
    }
}
