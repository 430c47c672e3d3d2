//! Results as a picture: throughput by workers, latency by rate.
//!
//! Of one workload the latencies are drawn for each number of workers; of several, for the greatest
//! number alone, so that both halves have one colour for each workload. What was not measured has no
//! point.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::figures::{Percentiles, count};
use super::{Latency, ProfileResults, Results};

const SIZE: (u32, u32) = (1200, 500);
/// What stands for which line is beside the charts, so that it hides none.
const KEY_WIDTH: u32 = 175;
const FONT: &str = "sans-serif";
/// How thick the lines of p50 are, and those of p99.
const THIN: u32 = 1;
/// See [`THIN`].
const THICK: u32 = 3;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Figure = fn(&Percentiles) -> f64;
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
        let (charts, key) = area.split_horizontally(SIZE.0 - KEY_WIDTH);
        let (left, right) = charts.split_horizontally((SIZE.0 - KEY_WIDTH) * 2 / 5);
        let series = all_series(&results.profiles);
        draw_throughput(&results.profiles, &left)?;
        draw_latency(&series, &right)?;
        draw_key(&series, &key)?;
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
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_labels(most_workers)
        .x_label_formatter(&|workers| match workers.fract() {
            0.0 => format!("{workers:.0}"),
            _ => String::new(),
        })
        .x_desc("worker threads")
        .y_desc("million events a second: median, min, max")
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 15))
        .draw()?;
    for (profile, colour) in profiles.iter().zip(COLOURS.iter().cycle()) {
        let mut medians = Vec::new();
        for measured in &profile.throughput {
            let rates = measured.events_per_s;
            let at = |rate: f64| (measured.workers as f64, rate / 1e6);
            let whisker = vec![at(rates.min), at(rates.max)];
            let whisker = PathElement::new(whisker, colour.stroke_width(THIN));
            chart.draw_series([whisker])?;
            medians.push(at(rates.median));
        }
        medians.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let line = LineSeries::new(medians.iter().copied(), colour.stroke_width(2));
        chart.draw_series(line)?;
        chart.draw_series(dots(&medians, *colour))?;
    }
    Ok(())
}

/// The latencies of one workload on so many workers.
struct Series<'a> {
    name: String,
    points: Vec<(&'a Latency, Percentiles)>,
}

fn all_series(profiles: &[ProfileResults]) -> Vec<Series<'_>> {
    let mut all = Vec::new();
    for profile in profiles {
        let counts = profile.throughput.iter().map(|measured| measured.workers);
        let mut counts: Vec<usize> = counts.collect();
        if profiles.len() > 1 {
            counts = counts.into_iter().max().into_iter().collect();
        }
        for workers in counts {
            let measured = profile.latency.iter();
            let mut points: Vec<_> = measured
                .filter(|latency| latency.workers == workers)
                .filter_map(|latency| Some((latency, latency.took?)))
                .collect();
            points.sort_by(|(a, _), (b, _)| a.offered_per_s.total_cmp(&b.offered_per_s));
            let workers = format!("{workers} {}", count("worker", workers));
            // Where nothing was late there is a colour all the same.
            all.push(Series {
                name: format!("{}, {workers}", profile.profile),
                points,
            });
        }
    }
    all
}

fn draw_latency(series: &[Series<'_>], area: &Area<'_>) -> Drawn {
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
        let p50: Figure = |took| took.p50_ms;
        let p99: Figure = |took| took.p99_ms;
        for (figure, width) in [(p50, THIN), (p99, THICK)] {
            let points = series.points.iter();
            let points: Vec<_> = points
                .map(|(latency, took)| (latency.offered_per_s / 1e6, figure(took)))
                .collect();
            let line = LineSeries::new(points.iter().copied(), colour.stroke_width(width));
            chart.draw_series(line)?;
            chart.draw_series(dots(&points, *colour))?;
        }
    }
    Ok(())
}

fn dots(points: &[(f64, f64)], colour: RGBColor) -> impl Iterator<Item = Circle<(f64, f64), i32>> {
    points
        .iter()
        .map(move |at| Circle::new(*at, 4, colour.filled()))
}

/// Says which line is which.
fn draw_key(series: &[Series<'_>], area: &Area<'_>) -> Drawn {
    const TOP: i32 = 55;
    const LINE: i32 = 20;
    let text = TextStyle::from((FONT, 14)).pos(Pos::new(HPos::Left, VPos::Center));
    let mut y = TOP;
    for (series, colour) in series.iter().zip(COLOURS.iter().cycle()) {
        for (name, width) in [("p50", THIN), ("p99", THICK)] {
            let line = vec![(0, y), (22, y)];
            area.draw(&PathElement::new(line, colour.stroke_width(width)))?;
            let name = format!("{}: {name}", series.name);
            area.draw(&Text::new(name, (28, y), text.clone()))?;
            y += LINE;
        }
    }
    Ok(())
}
