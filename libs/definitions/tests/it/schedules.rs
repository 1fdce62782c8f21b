//! Ticks of schedules.

use larder_definitions::{
    Schedule,
    schedule::{Ticks, scheduled_run_id},
};
use larder_types::Timestamp;

use crate::projects::name;

fn ticks(cron: &str, time_zone: &str) -> Ticks {
    Ticks::new(&Schedule { cron: cron.to_owned(), time_zone: time_zone.to_owned() }).unwrap()
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn ticks_come_in_the_schedules_time_zone() {
    for (cron, zone, at, next, last) in [
        ("0 */6 * * *", "UTC", "2026-01-31T08:30:00Z", "2026-01-31T12:00:00Z", "2026-01-31T06:00:00Z"),
        ("0 */6 * * *", "UTC", "2026-01-31T12:00:00Z", "2026-01-31T18:00:00Z", "2026-01-31T12:00:00Z"),
        ("0 */6 * * *", "UTC", "2026-01-31T11:59:59.5Z", "2026-01-31T12:00:00Z", "2026-01-31T06:00:00Z"),
        ("0 */6 * * *", "UTC", "2026-01-31T12:00:00.000001Z", "2026-01-31T18:00:00Z", "2026-01-31T12:00:00Z"),
        ("30 3 * * *", "Europe/Berlin", "2026-07-01T00:00:00Z", "2026-07-01T01:30:00Z", "2026-06-30T01:30:00Z"),
        ("30 3 * * *", "Europe/Berlin", "2026-01-01T00:00:00Z", "2026-01-01T02:30:00Z", "2025-12-31T02:30:00Z"),
        ("0 0 * * MON", "UTC", "2026-11-21T00:00:00Z", "2026-11-23T00:00:00Z", "2026-11-16T00:00:00Z"),
    ] {
        let ticks = ticks(cron, zone);
        assert_eq!(ticks.next_after(time(at)), Some(time(next)), "{cron} after {at}");
        assert_eq!(ticks.last_until(time(at)), Some(time(last)), "{cron} until {at}");
    }
    assert_eq!(ticks("0 0 31 2 *", "UTC").next_after(time("2026-01-01")), None, "never");
}

#[test]
fn a_ticks_run_has_one_id() {
    assert_eq!(scheduled_run_id(&name("v"), time("2026-01-31T06:00:00Z")), "v@2026-01-31T06:00:00Z");
}
