//! Schedules as people use them: statements, what they answer, and what runs.

mod statements;
mod year;
