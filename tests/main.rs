//! Black-box tests: a real server process, real clients.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod activity;
mod chains;
mod cluster;
mod command_line;
mod crash;
mod damage;
mod demo;
mod encryption;
mod faults;
mod format;
mod harness;
mod history_backup;
mod jobs;
mod leases;
mod main_job;
mod model;
mod notifications;
mod pipelines;
mod plans;
mod power;
mod retention;
mod round_trip;
mod row_locks;
mod schedules;
mod show_backup;
mod slt;
mod steps;
mod time_travel;
mod wire;
