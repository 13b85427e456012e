//! The writer of the page: a metric with its help, and its values.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::server::ops::histogram::TimeCounts;

/// A page that is being written.
pub(super) struct Page<'a>(pub(super) DescriptorEncoder<'a>);

/// A metric, without its values.
#[derive(Clone, Copy)]
pub(super) struct Metric {
    /// The name without its unit and the `_total` of a counter.
    name: &'static str,
    unit: Option<&'static Unit>,
    help: &'static str,
}

/// Returns a metric that has no unit.
pub(super) fn metric(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        unit: None,
        help,
    }
}

impl Metric {
    pub(super) fn seconds(self) -> Self {
        Self {
            unit: Some(&Unit::Seconds),
            ..self
        }
    }

    pub(super) fn bytes(self) -> Self {
        Self {
            unit: Some(&Unit::Bytes),
            ..self
        }
    }
}

impl Page<'_> {
    pub(super) fn counter(
        &mut self,
        metric: Metric,
        value: impl EncodeCounterValue,
    ) -> fmt::Result {
        let Metric { name, unit, help } = metric;
        let kind = MetricType::Counter;
        let mut encoder = self.0.encode_descriptor(name, help, unit, kind)?;
        encoder.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    /// Writes a counter with one value for each of the values of `label`.
    pub(super) fn counters<Value: EncodeCounterValue>(
        &mut self,
        metric: Metric,
        label: &str,
        values: impl IntoIterator<Item = (impl AsRef<str>, Value)>,
    ) -> fmt::Result {
        let Metric { name, unit, help } = metric;
        let kind = MetricType::Counter;
        let mut encoder = self.0.encode_descriptor(name, help, unit, kind)?;
        for (labelled, value) in values {
            let labels = [(label, labelled.as_ref())];
            let mut encoder = encoder.encode_family(&labels)?;
            encoder.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    pub(super) fn gauge(&mut self, metric: Metric, value: impl EncodeGaugeValue) -> fmt::Result {
        self.gauges(metric, [([("", ""); 0], value)])
    }

    /// Writes a gauge with one value for each set of labels.
    pub(super) fn gauges<Value: EncodeGaugeValue, const LABELS: usize>(
        &mut self,
        metric: Metric,
        values: impl IntoIterator<Item = ([(&'static str, impl AsRef<str>); LABELS], Value)>,
    ) -> fmt::Result {
        let Metric { name, unit, help } = metric;
        let kind = MetricType::Gauge;
        let mut encoder = self.0.encode_descriptor(name, help, unit, kind)?;
        for (labels, value) in values {
            let labels = labels
                .each_ref()
                .map(|(label, text)| (*label, text.as_ref()));
            encoder.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// Writes a histogram in seconds.
    pub(super) fn histogram(&mut self, metric: Metric, times: &TimeCounts) -> fmt::Result {
        let Metric { name, unit, help } = metric.seconds();
        let kind = MetricType::Histogram;
        let mut encoder = self.0.encode_descriptor(name, help, unit, kind)?;
        let bound = |bound: Option<u64>| bound.map_or(f64::INFINITY, |us| us as f64 / 1e6);
        let buckets = times.buckets().map(|(us, count)| (bound(us), count));
        let buckets: Vec<_> = buckets.collect();
        let sum = times.sum_us as f64 / 1e6;
        encoder.encode_histogram::<NoLabelSet>(sum, times.count(), &buckets, None)
    }

    /// Writes a metric that is always 1, whose labels are the information.
    pub(super) fn info(&mut self, metric: Metric, label: (&str, &str)) -> fmt::Result {
        let Metric { name, unit, help } = metric;
        let kind = MetricType::Info;
        let mut encoder = self.0.encode_descriptor(name, help, unit, kind)?;
        encoder.encode_info(&[label])
    }
}
