//! The maintenance plan's own rota (M22) and team (M25), and the calendar of China, ready to be used.

use jiff::civil::{Date, Time};

use super::{CalendarConfig, Day, HolidayConfig, LayerConfig, RoleConfig, ScheduleConfig, WindowConfig};
use crate::text;
use crate::text::{Text, Translate};

impl ScheduleConfig {
    /// The rota of M22: on working days from 9:00 to 18:00 those who are at work, at every other time, weekends and
    /// holidays around the clock included, the engineer on duty, who changes every week on the weekday of `starts_on` at
    /// 9:00.
    ///
    /// The engineer's layer has no restriction: what the plan lists as nights, weekends and holidays is all that the
    /// layer above leaves, so that there can be no gap between them.
    pub fn ready_made(
        zone: &str,
        calendar: Option<&str>,
        at_work: &[&str],
        engineers: &[&str],
        starts_on: Date,
    ) -> Self {
        let office_hours = WindowConfig {
            days: vec![Day::Working],
            from: Time::constant(9, 0, 0, 0),
            until: Time::constant(18, 0, 0, 0),
        };
        Self {
            name: "primary".to_owned(),
            zone: zone.to_owned(),
            calendar: calendar.map(str::to_owned),
            layers: vec![
                LayerConfig::weekly("engineer on duty", engineers, starts_on),
                LayerConfig {
                    only: vec![office_hours],
                    ..LayerConfig::weekly("office hours", at_work, starts_on)
                },
            ],
        }
    }
}

impl RoleConfig {
    /// The roles of M25 with their duties and the components they own; who has them is left to be filled in.
    pub fn ready_made(translations: &dyn Translate) -> Vec<Self> {
        let role = |name: &str, title: Text, duties: Text, components: &[&str]| Self {
            name: name.to_owned(),
            title: Some(title.translate(translations)),
            duties: Some(duties.translate(translations)),
            components: components
                .iter()
                .map(|component| (*component).to_owned())
                .collect(),
            ..Self::default()
        };
        vec![
            role(
                "tech-lead",
                text!("Tech lead"),
                text!("technical decisions, architecture, the team"),
                &["architecture"],
            ),
            role(
                "blockchain",
                text!("Blockchain engineer"),
                text!("the chain, its nodes and its consensus"),
                &["chain", "node", "validator", "consensus"],
            ),
            role(
                "backend",
                text!("Backend engineer"),
                text!("the API, its databases and its speed"),
                &["api", "postgres", "redis"],
            ),
            role(
                "frontend",
                text!("Frontend engineer"),
                text!("the web, mobile and desktop clients"),
                &["frontend", "web", "mobile"],
            ),
            role(
                "devops",
                text!("DevOps engineer"),
                text!("deployment, monitoring and infrastructure"),
                &["host", "docker", "network", "monitoring", "backup", "deployment"],
            ),
            role(
                "security",
                text!("Security engineer"),
                text!("audits, vulnerabilities and security rules"),
                &["security", "tls", "firewall", "auth"],
            ),
            role(
                "community",
                text!("Community manager"),
                text!("users, support and feedback"),
                &["community", "support"],
            ),
            role(
                "product",
                text!("Product manager"),
                text!("plans, requirements and research"),
                &["product"],
            ),
        ]
    }
}

/// Holidays of China: name, first and last day.
const CHINA: [(&str, [i8; 2], [i8; 2], i16); 13] = [
    ("元旦", [1, 1], [1, 1], 2025),
    ("春节", [1, 28], [2, 4], 2025),
    ("清明节", [4, 4], [4, 6], 2025),
    ("劳动节", [5, 1], [5, 5], 2025),
    ("端午节", [5, 31], [6, 2], 2025),
    ("国庆节、中秋节", [10, 1], [10, 8], 2025),
    ("元旦", [1, 1], [1, 3], 2026),
    ("春节", [2, 15], [2, 23], 2026),
    ("清明节", [4, 4], [4, 6], 2026),
    ("劳动节", [5, 1], [5, 5], 2026),
    ("端午节", [6, 19], [6, 21], 2026),
    ("中秋节", [9, 25], [9, 27], 2026),
    ("国庆节", [10, 1], [10, 7], 2026),
];

/// Make-up working days of China.
const CHINA_MAKE_UP: [(i16, i8, i8); 11] = [
    (2025, 1, 26),
    (2025, 2, 8),
    (2025, 4, 27),
    (2025, 9, 28),
    (2025, 10, 11),
    (2026, 1, 4),
    (2026, 2, 14),
    (2026, 2, 28),
    (2026, 5, 9),
    (2026, 9, 20),
    (2026, 10, 10),
];

impl CalendarConfig {
    /// China's holidays and make-up working days of 2025 and 2026, called `china`.
    ///
    /// The State Council announces them each November for the next year, so that the years after have to be added; the
    /// fixed dates of New Year, Labour Day and the National Day are not guessed for them, because the days around are as
    /// much a part of the announcement. Compared day by day with the Python package `chinesecalendar`.
    pub fn china() -> Self {
        Self {
            name: "china".to_owned(),
            holidays: CHINA
                .into_iter()
                .map(|(name, from, until, year)| HolidayConfig {
                    name: name.to_owned(),
                    from: Date::constant(year, from[0], from[1]),
                    until: Some(Date::constant(year, until[0], until[1])),
                    yearly: false,
                })
                .collect(),
            working_days: CHINA_MAKE_UP
                .into_iter()
                .map(|(year, month, day)| Date::constant(year, month, day))
                .collect(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oncall::{Calendar, OnCall, OnCallConfig, Overrides, PersonConfig};
    use crate::text::English;
    use jiff::Timestamp;

    #[test]
    fn a_weekend_that_works_and_a_weekday_that_rests() {
        let china = Calendar::new(&CalendarConfig::china()).unwrap();
        let works = |date: &str| china.is_working_day(date.parse().unwrap());
        assert!(
            works("2026-02-14"),
            "the Saturday before Spring Festival is made up for"
        );
        assert!(!works("2026-02-16"), "a Monday in Spring Festival");
        assert!(works("2026-02-24"), "the Tuesday after");
        assert!(!works("2026-02-22"), "an ordinary Sunday");
        assert_eq!(china.holiday("2026-10-07".parse().unwrap()), Some("国庆节"));
        // What the Python package counts: 248 working days in 2025 and 248 in 2026.
        for year in [2025, 2026] {
            let days = Date::constant(year, 1, 1).series(jiff::Span::new().days(1));
            let worked = days
                .take_while(|day| day.year() == year)
                .filter(|day| china.is_working_day(*day));
            assert_eq!(worked.count(), 248, "{year}");
        }
    }

    /// The rota of M22 by the clock of Shanghai, which is eight hours ahead and never changes: no library of time zones.
    #[test]
    fn the_rota_of_the_plan_by_plain_arithmetic() {
        let mut config = OnCallConfig {
            people: ["mei", "ivan", "ana"]
                .map(|name| PersonConfig {
                    name: name.to_owned(),
                    ..PersonConfig::default()
                })
                .into(),
            ..OnCallConfig::default()
        };
        config.roles = RoleConfig::ready_made(&English);
        config.roles[4].people = vec!["mei".to_owned(), "ana".to_owned()];
        config.calendars = vec![CalendarConfig::china()];
        let monday = Date::constant(2025, 1, 6);
        config.schedules = vec![ScheduleConfig::ready_made(
            "Asia/Shanghai",
            Some("china"),
            &["role/devops"],
            &["mei", "ivan", "ana"],
            monday,
        )];
        let on_call = OnCall::new(&config).unwrap();
        let china = Calendar::new(&config.calendars[0]).unwrap();
        let none = Overrides::new();

        // Every half hour of two years, from Monday, 6 January 2025, 9:00 in Shanghai, which is 1:00 in UTC.
        let start: i64 = 1_736_125_200;
        for step in 0..2 * 365 * 48 {
            let seconds = step * 1800;
            let since_midnight = seconds + 9 * 3600;
            let (day, hour) = (since_midnight / 86_400, since_midnight % 86_400 / 3600);
            let date = monday + jiff::Span::new().days(day);
            let expected: &[&str] = if china.is_working_day(date) && (9..18).contains(&hour) {
                &["mei", "ana"]
            } else {
                [&["mei"], &["ivan"], &["ana"]][usize::try_from(seconds / (7 * 86_400) % 3).unwrap()]
            };
            let at = Timestamp::from_second(start + seconds).unwrap();
            let found = on_call.on_duty("primary", at, &none);
            let found: Vec<&str> = found.iter().map(|person| person.as_str()).collect();
            assert_eq!(found, expected, "{at}");
        }
        let schedule = on_call.schedule("primary").unwrap();
        let at = |seconds| Timestamp::from_second(start + seconds).unwrap();
        assert_eq!(schedule.gaps(at(0), at(2 * 365 * 86_400), &none), []);
        // The last minute of the night of Friday to Saturday: the engineer goes on through the weekend.
        let handover = schedule.next_handover(at(4 * 86_400 + 9 * 3600), &none).unwrap();
        assert_eq!(handover.at.to_string(), "2025-01-13T01:00:00Z");
    }
}
