//! Figures in Prometheus' form. No person, booking or call is ever a label.

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::sync::OnceLock;
use std::time::Duration;

const UPKEEP: Duration = Duration::from_secs(5);
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
const BATCHES: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// The process' one recorder.
pub fn install() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    let make = || {
        let buckets = |builder: PrometheusBuilder, ending: &str, values: &[f64]| {
            // Refused only for an empty list.
            builder.set_buckets_for_metric(Matcher::Suffix(ending.into()), values).unwrap_or_default()
        };
        let builder = buckets(PrometheusBuilder::new(), "_seconds", &SECONDS);
        let recorder = buckets(builder, "_batch", &BATCHES).build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).ok();
        handle
    };
    HANDLE.get_or_init(make).clone()
}

/// Folds what gathers between two looks.
pub async fn upkeep(handle: PrometheusHandle) {
    loop {
        tokio::time::sleep(UPKEEP).await;
        handle.run_upkeep();
    }
}
