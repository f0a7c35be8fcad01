//! Both sides in turns, as often as criterion asks.

use std::time::Duration;

use criterion::{Criterion, SamplingMode, Throughput};
use udr_benches::{Round, report};

/// Runs `round` as often as criterion asks and prints how both sides compare; `units` is how many
/// of what is counted one round makes on each side.
///
/// Criterion follows UDR's side from run to run.
pub(crate) fn compare(
    criterion: &mut Criterion,
    name: &str,
    units: u32,
    mut round: impl FnMut() -> Round,
) {
    // The first round warms both sides up, and says how long a sample is.
    let first = round();
    let mut rounds = Vec::new();
    let mut group = criterion.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat);
    group.sample_size(10);
    group.warm_up_time(Duration::from_nanos(1));
    group.measurement_time(first.udr * 10);
    group.throughput(Throughput::Elements(u64::from(units)));
    group.bench_function("udr", |bencher| {
        bencher.iter_custom(|iterations| {
            let new = (0..iterations).map(|_| round()).collect::<Vec<_>>();
            rounds.extend_from_slice(&new);
            new.iter().map(|round| round.udr).sum()
        });
    });
    group.finish();
    report(name, units, &rounds);
}
