//! Results as a picture: throughput by workers, latency by rate.
//!
//! A line for each workload, and on the right for each number of workers, too; the colours go by the
//! workload on the left, and by the pair on the right. What was not measured has no point.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::figures::{Percentiles, count};
use super::{Latency, ProfileResults, Results};

const SIZE: (u32, u32) = (1200, 520);
const FONT: &str = "sans-serif";

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

/// Colours that are told apart by people who see few.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(120, 120, 120),
];

pub(super) fn draw(results: &Results) -> Result<String, Box<dyn Error>> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let (left, right) = area.split_horizontally(SIZE.0 * 2 / 5);
        draw_throughput(&results.profiles, &left)?;
        draw_latency(&results.profiles, &right)?;
        area.present()?;
    }
    Ok(svg)
}

fn draw_throughput(profiles: &[ProfileResults], area: &Area<'_>) -> Drawn {
    let all = || profiles.iter().flat_map(|profile| &profile.throughput);
    let most_workers = all().map(|measured| measured.workers).max().unwrap_or(1);
    let fastest = all().map(|measured| measured.events_per_s.max);
    let top = fastest.fold(0.0, f64::max).max(1.0) / 1e6 * 1.15;
    let mut chart = ChartBuilder::on(area)
        .caption("Throughput by workers", (FONT, 22))
        .margin(15)
        .x_label_area_size(45)
        .y_label_area_size(60)
        .build_cartesian_2d(0.5..most_workers as f64 + 0.5, 0.0..top)?;
    let whole: Vec<f64> = (1..=most_workers).map(|workers| workers as f64).collect();
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_labels(whole.len())
        .x_label_formatter(&|workers| match workers.fract() {
            0.0 => format!("{workers:.0}"),
            _ => String::new(),
        })
        .x_desc("worker threads")
        .y_desc("million events a second: median, least and most")
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 15))
        .draw()?;
    for (profile, colour) in profiles.iter().zip(COLOURS.iter().cycle()) {
        let points = profile.throughput.iter().map(|measured| {
            let rates = measured.events_per_s;
            let workers = measured.workers as f64;
            let [median, min, max] = [rates.median, rates.min, rates.max].map(|rate| rate / 1e6);
            (workers, median, min, max)
        });
        let medians = points
            .clone()
            .map(|(workers, median, _, _)| (workers, median));
        chart
            .draw_series(LineSeries::new(medians.clone(), colour.stroke_width(2)))?
            .label(profile.profile)
            .legend(key(*colour, 2));
        chart.draw_series(medians.map(|at| Circle::new(at, 4, colour.filled())))?;
        chart.draw_series(points.map(|(workers, _, min, max)| {
            let whiskers = vec![(workers, min), (workers, max)];
            PathElement::new(whiskers, colour.stroke_width(1))
        }))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .label_font((FONT, 14))
        .draw()?;
    Ok(())
}

/// The latencies of one workload on so many workers.
struct Series<'a> {
    name: String,
    points: Vec<(&'a Latency, Percentiles)>,
}

fn draw_latency(profiles: &[ProfileResults], area: &Area<'_>) -> Drawn {
    let series = all_series(profiles);
    let points = || series.iter().flat_map(|series| &series.points);
    let fastest = points().map(|(latency, _)| latency.offered_per_s);
    let right = fastest.fold(0.0, f64::max).max(1.0) / 1e6 * 1.05;
    let least = points().map(|(_, took)| took.p50_ms).fold(1.0, f64::min);
    let most = points().map(|(_, took)| took.p99_ms).fold(1.0, f64::max);
    // Whole powers of ten, and room for points that lie on one.
    let bottom = 10_f64.powf((least * 0.9).max(1e-4).log10().floor());
    let top = 10_f64.powf((most * 1.1).log10().ceil());
    let mut chart = ChartBuilder::on(area)
        .caption("Latency by rate", (FONT, 22))
        .margin(15)
        .x_label_area_size(45)
        .y_label_area_size(75)
        .build_cartesian_2d(0.0..right, (bottom..top).log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(BLACK.mix(0.05))
        .bold_line_style(BLACK.mix(0.12))
        .x_label_formatter(&|rate| format!("{rate:.2}"))
        .y_label_formatter(&|ms| format!("{ms}"))
        .x_desc("million events offered a second")
        .y_desc("ms from a late event to its correction")
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 15))
        .draw()?;
    for (series, colour) in series.iter().zip(COLOURS.iter().cycle()) {
        let line = |figure: fn(&Percentiles) -> f64| {
            let points = series.points.iter();
            let points =
                points.map(move |(latency, took)| (latency.offered_per_s / 1e6, figure(took)));
            points.collect::<Vec<_>>()
        };
        let lines = [
            ("p50", line(|took| took.p50_ms), 1),
            ("p99", line(|took| took.p99_ms), 3),
        ];
        for (name, points, width) in lines {
            let line = LineSeries::new(points.iter().copied(), colour.stroke_width(width));
            chart
                .draw_series(line)?
                .label(format!("{}: {name}", series.name))
                .legend(key(*colour, width));
            let dots = points
                .into_iter()
                .map(|at| Circle::new(at, 4, colour.filled()));
            chart.draw_series(dots)?;
        }
    }
    if !series.is_empty() {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.3))
            .label_font((FONT, 14))
            .draw()?;
    }
    Ok(())
}

fn all_series(profiles: &[ProfileResults]) -> Vec<Series<'_>> {
    let mut all = Vec::new();
    for profile in profiles {
        for workers in profile.throughput.iter().map(|measured| measured.workers) {
            let measured = profile
                .latency
                .iter()
                .filter(|latency| latency.workers == workers);
            let mut points: Vec<_> = measured
                .filter_map(|latency| Some((latency, latency.took?)))
                .collect();
            points.sort_by(|(a, _), (b, _)| a.offered_per_s.total_cmp(&b.offered_per_s));
            if points.is_empty() {
                continue;
            }
            let workers = format!("{workers} {}", count("worker", workers));
            let name = match profiles.len() {
                1 => workers,
                _ => format!("{}, {workers}", profile.profile),
            };
            all.push(Series { name, points });
        }
    }
    all
}

/// What stands for a line in the legend.
fn key(colour: RGBColor, width: u32) -> impl Fn((i32, i32)) -> PathElement<(i32, i32)> + 'static {
    move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(width))
}
