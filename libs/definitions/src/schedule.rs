//! Schedules: five cron fields in a time zone, as instants.

use std::{str::FromStr, time::Duration};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use larder_types::{Error, Name, Result, Timestamp};

use crate::{Schedule, run::RunId, validate::did_you_mean};

/// The instants of a schedule.
#[derive(Debug, Clone)]
pub struct Ticks {
    cron: Cron,
    time_zone: Tz,
}

impl Ticks {
    /// Reads a schedule.
    pub fn new(schedule: &Schedule) -> Result<Self> {
        Ok(Self { cron: parse_cron(&schedule.cron)?, time_zone: parse_time_zone(&schedule.time_zone)? })
    }

    /// What is wrong with a schedule's cron fields, and with its time zone.
    pub(crate) fn check(schedule: &Schedule) -> (Option<Error>, Option<Error>) {
        (check_cron(&schedule.cron).err(), parse_time_zone(&schedule.time_zone).err())
    }

    /// The first tick after `instant`. None where the schedule never comes round again.
    pub fn next_after(&self, instant: Timestamp) -> Option<Timestamp> {
        let from = instant.to_datetime()?.with_timezone(&self.time_zone);
        let tick = self.cron.find_next_occurrence(&from, false).ok()?;
        Some(to_timestamp(tick))
    }

    /// The last tick at or before `instant`: missed ticks are made up by one run, which is this one.
    pub fn last_until(&self, instant: Timestamp) -> Option<Timestamp> {
        let until = instant.to_datetime()?.with_timezone(&self.time_zone);
        let tick = self.cron.find_previous_occurrence(&until, true).ok()?;
        Some(to_timestamp(tick))
    }
}

/// The id of the run of a tick: whoever creates it first has it. An outside scheduler uses the same id.
pub fn scheduled_run_id(view: &Name, tick: Timestamp) -> RunId {
    format!("{view}@{tick}")
}

/// How far the clock of who keeps a schedule may be ahead.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);

/// That a tick has come: a run for an instant that has not would make its view's schedule wait for it. INVALID_ARGUMENT of
/// `field` otherwise.
pub fn check_has_come(field: &str, tick: Timestamp, now: Timestamp) -> Result<()> {
    if tick <= now.plus(CLOCKS_DIFFER) {
        return Ok(());
    }
    let wrong = format!("a schedule's run is for an instant that has come: {tick} is later than now, which is {now}");
    Err(Error::invalid_field(field, wrong))
}

fn to_timestamp(time: DateTime<Tz>) -> Timestamp {
    Timestamp::from(time.with_timezone(&Utc))
}

/// That it is one, and comes round.
fn check_cron(text: &str) -> Result<()> {
    // Any start does: what comes round at all does so within the years that a leap day takes.
    let next = parse_cron(text)?.find_next_occurrence(&DateTime::UNIX_EPOCH, false);
    next.map(drop).map_err(|error| {
        Error::invalid_argument(format!("`{text}` never comes round: there is no such day")).with_source(error)
    })
}

fn parse_cron(text: &str) -> Result<Cron> {
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let cron = parser.parse(text).map_err(|error| {
        Error::invalid_argument(format!(
            "`{text}` is not a cron expression ({error}): write five fields, minute hour day-of-month month day-of-week, \
             e.g. `0 */6 * * *`"
        ))
        .with_source(error)
    })?;
    Ok(cron)
}

fn parse_time_zone(text: &str) -> Result<Tz> {
    Tz::from_str(text).map_err(|_| {
        let hint = did_you_mean(text, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()));
        Error::invalid_argument(format!("`{text}` is not an IANA time zone, e.g. Europe/Berlin or UTC{hint}"))
    })
}
