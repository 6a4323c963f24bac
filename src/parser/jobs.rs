use super::cursor::Cursor;
use super::error::Result;
use super::option::parse_value;
use super::ordinary::{Ordinary, ids_query};
use super::render::{Render, Secrets, display_redacted, quote_ident};
use super::schedule::SCHEDULE_ID;
use super::text::{Integer, Text};

/// `SHOW JOBS`
#[derive(Clone, Debug, PartialEq)]
pub struct ShowJobs {
    /// Which of them.
    pub jobs: ShownJobs,
    /// Wait until each of them has ended.
    pub when_complete: bool,
}

/// Which jobs `SHOW JOBS` shows.
#[derive(Clone, Debug, PartialEq)]
pub enum ShownJobs {
    /// Those that people asked for, and that run or ended not long ago.
    Recent,
    /// `AUTOMATIC`: those that keepsafe started itself.
    Automatic,
    /// Those whose ids a query gives, in its one column.
    Ids(Box<Ordinary>),
    /// `FOR SCHEDULES`: those of the schedules whose ids a query gives.
    OfSchedules(Box<Ordinary>),
}

/// `{PAUSE | RESUME | CANCEL} JOBS`
#[derive(Clone, Debug, PartialEq)]
pub struct ControlJobs {
    /// What to do with them.
    pub command: JobCommand,
    /// Which of them.
    pub jobs: ControlledJobs,
    /// Why, with `PAUSE` only.
    pub reason: Option<Text>,
}

/// What can be done with jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobCommand {
    /// `PAUSE`
    Pause,
    /// `RESUME`
    Resume,
    /// `CANCEL`
    Cancel,
}

/// Which jobs are paused, resumed or canceled.
#[derive(Clone, Debug, PartialEq)]
pub enum ControlledJobs {
    /// Those whose ids a query gives, in its one column.
    Ids(Box<Ordinary>),
    /// `FOR SCHEDULES`: those of the schedules whose ids a query gives.
    OfSchedules(Box<Ordinary>),
    /// `ALL BACKUP JOBS`
    AllBackups,
    /// `ALL RESTORE JOBS`
    AllRestores,
}

impl ShownJobs {
    /// The query for ids, if there is one.
    pub fn query(&self) -> Option<&Ordinary> {
        match self {
            ShownJobs::Ids(query) | ShownJobs::OfSchedules(query) => Some(query),
            ShownJobs::Recent | ShownJobs::Automatic => None,
        }
    }
}

impl ControlledJobs {
    /// The query for ids, if there is one.
    pub fn query(&self) -> Option<&Ordinary> {
        match self {
            ControlledJobs::Ids(query) | ControlledJobs::OfSchedules(query) => Some(query),
            ControlledJobs::AllBackups | ControlledJobs::AllRestores => None,
        }
    }
}

/// `ALTER JOB id OWNER TO role`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlterJob {
    /// Which job.
    pub id: Integer,
    /// Whose it shall be.
    pub owner: String,
}

display_redacted!(ShowJobs, ControlJobs, AlterJob);

/// What an id of a job has to be.
const JOB_ID: &str = "the id of a job, a whole number";

impl ShowJobs {
    /// After `SHOW`, if these are next.
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<Option<ShowJobs>> {
        if cursor.eat("AUTOMATIC JOBS") {
            return Ok(Some(ShowJobs { jobs: ShownJobs::Automatic, when_complete: false }));
        }
        let one = cursor.at("JOB");
        if !cursor.eat("JOBS") && !cursor.eat("JOB") {
            return Ok(None);
        }
        let mut when_complete = cursor.eat("WHEN COMPLETE");
        if !one && !when_complete && cursor.is_at_end() {
            return Ok(Some(ShowJobs { jobs: ShownJobs::Recent, when_complete }));
        }
        // The query must not take WHEN for an alias, so the end is read first.
        let (mut before, end) = cursor.split_end(2);
        if when_complete || !end.at_words("WHEN COMPLETE") {
            before = cursor.clone();
        } else {
            when_complete = true;
        }
        let jobs = if one {
            ShownJobs::Ids(ids_query(before.integer(JOB_ID)?))
        } else if !when_complete && before.at("FOR") {
            ShownJobs::OfSchedules(parse_schedules(&mut before)?)
        } else {
            ShownJobs::Ids(before.query()?)
        };
        before.require_end()?;
        cursor.skip_rest();
        Ok(Some(ShowJobs { jobs, when_complete }))
    }
}

/// `FOR SCHEDULE id` or `FOR SCHEDULES query`
fn parse_schedules(cursor: &mut Cursor<'_>) -> Result<Box<Ordinary>> {
    cursor.require("FOR")?;
    if cursor.eat("SCHEDULES") {
        return cursor.query();
    }
    cursor.require("SCHEDULE").map_err(|_| cursor.expected("SCHEDULE or SCHEDULES"))?;
    cursor.integer(SCHEDULE_ID).map(ids_query)
}

impl ControlJobs {
    /// After the command, if jobs are next.
    pub fn parse(cursor: &mut Cursor<'_>, command: JobCommand) -> Result<Option<ControlJobs>> {
        let all = if cursor.eat("ALL BACKUP JOBS") {
            Some(ControlledJobs::AllBackups)
        } else if cursor.eat("ALL RESTORE JOBS") {
            Some(ControlledJobs::AllRestores)
        } else if cursor.at("ALL") {
            return Err(cursor.expected("ALL BACKUP JOBS or ALL RESTORE JOBS"));
        } else {
            None
        };
        if all.is_none() && !cursor.at("JOB") && !cursor.at("JOBS") {
            return Ok(None);
        }
        // The reason stands last; the query must not take its WITH for its own.
        let mut reason = None;
        let (mut before, mut end) = cursor.split_end(4);
        if command == JobCommand::Pause && end.eat("WITH REASON") {
            reason = Some(parse_value(&mut end)?);
        } else {
            before = cursor.clone();
        }
        let jobs = match all {
            Some(all) => all,
            None if before.eat("JOB") => ControlledJobs::Ids(ids_query(before.integer(JOB_ID)?)),
            None => {
                before.require("JOBS")?;
                if before.at("FOR") {
                    ControlledJobs::OfSchedules(parse_schedules(&mut before)?)
                } else {
                    ControlledJobs::Ids(before.query()?)
                }
            }
        };
        before.require_end()?;
        cursor.skip_rest();
        Ok(Some(ControlJobs { command, jobs, reason }))
    }
}

impl JobCommand {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            JobCommand::Pause => "PAUSE",
            JobCommand::Resume => "RESUME",
            JobCommand::Cancel => "CANCEL",
        }
    }
}

impl AlterJob {
    /// After `ALTER JOB`.
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<AlterJob> {
        let id = cursor.integer(JOB_ID)?;
        cursor.require("OWNER TO")?;
        Ok(AlterJob { id, owner: cursor.identifier()? })
    }
}

impl Render for ShowJobs {
    fn render(&self, out: &mut String, secrets: Secrets) {
        let (words, query) = match &self.jobs {
            ShownJobs::Recent => ("SHOW JOBS", None),
            ShownJobs::Automatic => ("SHOW AUTOMATIC JOBS", None),
            ShownJobs::Ids(query) if self.when_complete => ("SHOW JOBS WHEN COMPLETE ", Some(query)),
            ShownJobs::Ids(query) => ("SHOW JOBS ", Some(query)),
            ShownJobs::OfSchedules(query) => ("SHOW JOBS FOR SCHEDULES ", Some(query)),
        };
        out.push_str(words);
        query.iter().for_each(|query| query.render(out, secrets));
    }
}

impl Render for ControlJobs {
    fn render(&self, out: &mut String, secrets: Secrets) {
        out.push_str(self.command.name());
        let (words, query) = match &self.jobs {
            ControlledJobs::Ids(query) => (" JOBS ", Some(query)),
            ControlledJobs::OfSchedules(query) => (" JOBS FOR SCHEDULES ", Some(query)),
            ControlledJobs::AllBackups => (" ALL BACKUP JOBS", None),
            ControlledJobs::AllRestores => (" ALL RESTORE JOBS", None),
        };
        out.push_str(words);
        query.iter().for_each(|query| query.render(out, secrets));
        if let Some(reason) = &self.reason {
            out.push_str(" WITH REASON = ");
            reason.render(out, secrets);
        }
    }
}

impl Render for AlterJob {
    fn render(&self, out: &mut String, secrets: Secrets) {
        let id = self.id.rendered(secrets);
        out.push_str(&format!("ALTER JOB {id} OWNER TO {}", quote_ident(&self.owner)));
    }
}
