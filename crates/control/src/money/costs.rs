//! What things cost: hours from the store and what meters have reported since, added up.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use weir_ledger::book::Scope;
use weir_ledger::{Nano, Period};
use weir_model::UnixMillis;
use weir_store::UsageHour;

use super::{Bucket, CostColumn, CostQuery, CostRow};

/// Most rows of one answer.
pub(super) const ROWS: usize = 100_000;

/// The sums of one query.
#[derive(Debug)]
pub(super) struct Sums<'q> {
    query: &'q CostQuery,
    zone: &'q TimeZone,
    /// By rows without units and amount.
    sums: BTreeMap<CostRow, (u128, Nano)>,
}

impl<'q> Sums<'q> {
    pub(super) fn new(query: &'q CostQuery, zone: &'q TimeZone) -> Self {
        Self {
            query,
            zone,
            sums: BTreeMap::new(),
        }
    }

    /// Whose costs are asked for.
    pub(super) fn scope(&self) -> Scope {
        self.query.scope
    }

    /// Adds an hour, if it belongs to what is asked for. What is too much to tell is not kept.
    pub(super) fn add(&mut self, hour: &UsageHour) {
        let query = self.query;
        let whose = match query.scope {
            Scope::Account(id) => hour.account == id,
            Scope::Project(id) => hour.project == id,
            Scope::Environment(id) => hour.environment == id,
        };
        if !whose || hour.hour_ms < query.from_ms || hour.hour_ms >= query.until_ms || self.is_too_much() {
            return;
        }
        let by = |column| query.by.contains(&column);
        let row = CostRow {
            from_ms: self.bucket_of(hour.hour_ms),
            project: by(CostColumn::Project).then_some(hour.project),
            environment: by(CostColumn::Environment).then_some(hour.environment),
            app: hour.line.app.clone().filter(|_| by(CostColumn::App)),
            process: hour.line.process.clone().filter(|_| by(CostColumn::Process)),
            sku: by(CostColumn::Sku).then(|| hour.line.sku.clone()),
            price_version: by(CostColumn::PriceVersion).then_some(hour.price_version),
            units: None,
            amount: Nano::ZERO,
        };
        let (units, amount) = self.sums.entry(row).or_default();
        *units = units.saturating_add(hour.units);
        *amount += hour.amount;
    }

    /// Whether there are more rows than are told at once.
    pub(super) fn is_too_much(&self) -> bool {
        self.sums.len() > ROWS
    }

    /// By time, then by what they are told apart.
    pub(super) fn into_rows(self) -> Vec<CostRow> {
        let units_known = self.query.by.contains(&CostColumn::Sku);
        let rows = self.sums.into_iter().map(|(row, (units, amount))| CostRow {
            units: units_known.then_some(units),
            amount,
            ..row
        });
        rows.collect()
    }

    fn bucket_of(&self, hour_ms: UnixMillis) -> UnixMillis {
        let period = match self.query.bucket {
            Bucket::Hour => return hour_ms,
            Bucket::Total => return self.query.from_ms,
            Bucket::Day => Period::Day,
            Bucket::Month => Period::Month,
        };
        period.around(hour_ms, self.zone).0
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use weir_ledger::Sku;
    use weir_ledger::protocol::LineKey;
    use weir_model::{AccountId, AppName, EnvironmentId, ProjectId};

    use super::*;

    fn hour(text: &str, app: &str, units: u128, amount: i64) -> UsageHour {
        let instant: Timestamp = text.parse().unwrap();
        UsageHour {
            hour_ms: instant.as_millisecond(),
            account: AccountId::from_parts(0, 0),
            project: ProjectId::from_parts(1, 1),
            environment: EnvironmentId::from_parts(1, 1),
            line: LineKey {
                app: Some(AppName::new(app).unwrap()),
                process: None,
                sku: Sku::CPU,
            },
            price_version: 1,
            units,
            amount: Nano(amount),
        }
    }

    fn query(bucket: Bucket, by: &[CostColumn]) -> CostQuery {
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        CostQuery {
            scope: Scope::Project(ProjectId::from_parts(1, 1)),
            from_ms: at("2026-03-01T00:00:00Z"),
            until_ms: at("2026-05-01T00:00:00Z"),
            bucket,
            by: by.to_vec(),
        }
    }

    fn sums(query: &CostQuery, zone: &TimeZone) -> Vec<(String, Option<String>, Option<u128>, i64)> {
        let mut sums = Sums::new(query, zone);
        for hour in [
            hour("2026-02-28T23:00:00Z", "web", 1_000, 1_000),
            hour("2026-03-01T00:00:00Z", "web", 1, 1),
            hour("2026-03-31T21:00:00Z", "web", 2, 2),
            hour("2026-03-31T22:00:00Z", "api", 4, 4),
            hour("2026-04-30T23:00:00Z", "web", 8, 8),
            hour("2026-05-01T00:00:00Z", "web", 1_000, 1_000),
        ] {
            sums.add(&hour);
        }
        let told = |row: CostRow| {
            let from = Timestamp::from_millisecond(row.from_ms).unwrap().to_string();
            (from, row.app.map(|app| app.to_string()), row.units, row.amount.0)
        };
        sums.into_rows().into_iter().map(told).collect()
    }

    #[test]
    fn hours_that_begin_within_the_bounds_are_added_up() {
        let total = sums(&query(Bucket::Total, &[]), &TimeZone::UTC);
        assert_eq!(total, [("2026-03-01T00:00:00Z".to_owned(), None, None, 15)]);
        let by = sums(
            &query(Bucket::Total, &[CostColumn::App, CostColumn::Sku]),
            &TimeZone::UTC,
        );
        let row = |app: &str, sum: i64, units| {
            (
                "2026-03-01T00:00:00Z".to_owned(),
                Some(app.to_owned()),
                Some(units),
                sum,
            )
        };
        assert_eq!(by, [row("api", 4, 4), row("web", 11, 11)]);
    }

    #[test]
    fn days_and_months_begin_at_midnight_of_the_time_zone() {
        let months = |zone| {
            let rows = sums(&query(Bucket::Month, &[]), &zone);
            rows.into_iter().map(|(from, .., sum)| (from, sum)).collect::<Vec<_>>()
        };
        let row = |from: &str, sum| (from.to_owned(), sum);
        assert_eq!(
            months(TimeZone::UTC),
            [row("2026-03-01T00:00:00Z", 7), row("2026-04-01T00:00:00Z", 8)]
        );
        // Two hours east of Greenwich, April begins at ten in the evening.
        assert_eq!(
            months(TimeZone::fixed(jiff::tz::offset(2))),
            [
                row("2026-02-28T22:00:00Z", 3),
                row("2026-03-31T22:00:00Z", 4),
                row("2026-04-30T22:00:00Z", 8)
            ]
        );
        assert_eq!(sums(&query(Bucket::Day, &[]), &TimeZone::UTC).len(), 3);
        assert_eq!(sums(&query(Bucket::Hour, &[]), &TimeZone::UTC).len(), 4);
    }

    #[test]
    fn another_scope_is_left_out() {
        let mut query = query(Bucket::Total, &[]);
        query.scope = Scope::Environment(EnvironmentId::from_parts(2, 2));
        assert_eq!(sums(&query, &TimeZone::UTC), []);
    }
}
