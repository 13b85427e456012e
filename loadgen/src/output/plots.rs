//! Curves drawn as SVG.

use std::fmt;
use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::{
    Cartesian2d, ChartBuilder, ChartContext, Circle, Cross, DrawingAreaErrorKind, IntoDrawingArea,
    IntoFont, LineSeries, RGBColor, Ranged, SVGBackend, ShapeStyle,
};
use plotters::style::{Color, TRANSPARENT};

use super::axes::Axis;

/// Curves over one pair of axes.
#[derive(Debug, Clone)]
pub(super) struct Plot {
    pub(super) x: Axis,
    pub(super) y: Axis,
    /// Earlier ones are drawn over later ones.
    pub(super) curves: Vec<Curve>,
    /// Over all curves.
    pub(super) marks: Vec<Mark>,
}

/// One curve.
#[derive(Debug, Clone)]
pub(super) struct Curve {
    /// What it is, for the legend.
    pub(super) name: &'static str,
    pub(super) colour: Colour,
    /// Its pieces: between them is a gap. None of them is empty.
    pub(super) pieces: Vec<Vec<(f64, f64)>>,
}

/// One of the values that a curve leads through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mark {
    pub(super) at: (f64, f64),
    pub(super) colour: Colour,
    /// A dot; and otherwise a cross.
    pub(super) is_good: bool,
}

/// What curves stand for, which is what gives them their colour throughout a report. The
/// page gives each of these colours another one where the reader's scheme is dark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    /// A latency from when things were due.
    FromDue,
    /// The same from when they were sent.
    FromSend,
    /// The same as one who waits would see it.
    ClosedLoop,
    /// Of an interval, the median.
    Median,
    /// 99 % of it.
    Tail,
    /// All of it.
    Max,
    /// What there should be.
    Expected,
    /// What there was.
    Actual,
    /// What there was not.
    Lost,
    /// Requests without an answer.
    Unanswered,
    /// As far as it is good.
    Limit,
}

/// The curves could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw the report: {0}")]
pub struct PlotError(String);

impl Plot {
    /// An `svg` element.
    pub(super) fn draw(&self) -> Result<String, PlotError> {
        let mut svg = String::new();
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin_top(16)
            // The turned title's letters are higher than plotters knows.
            .margin_left(8)
            // Half of the last label is beyond the axis.
            .margin_right(56)
            .x_label_area_size(88)
            .y_label_area_size(150)
            .build_cartesian_2d(Coordinate(&self.x), Coordinate(&self.y))?;
        let text = ("sans-serif", FONT_SIZE).into_font().color(&TEXT);
        chart
            .configure_mesh()
            .axis_style(AXIS)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .label_style(text)
            .x_desc(self.x.title)
            .y_desc(self.y.title)
            .draw()?;
        for curve in self.curves.iter().rev() {
            draw_curve(&mut chart, curve)?;
        }
        for mark in &self.marks {
            draw_mark(&mut chart, mark)?;
        }
        drop(chart);
        root.present()?;
        drop(root);
        Ok(svg)
    }
}

impl Colour {
    /// The name of its property in the page's style.
    pub(super) fn property(self) -> &'static str {
        match self {
            Self::FromDue => "--from-due",
            Self::FromSend => "--from-send",
            Self::ClosedLoop => "--closed-loop",
            Self::Median => "--median",
            Self::Tail => "--tail",
            Self::Max => "--max",
            Self::Expected => "--expected",
            Self::Actual => "--actual",
            Self::Lost => "--lost",
            Self::Unanswered => "--unanswered",
            Self::Limit => "--limit",
        }
    }

    /// The page's style finds it by this, so no two are the same.
    fn rgb(self) -> RGBColor {
        match self {
            Self::FromDue => RGBColor(0x2a, 0x78, 0xd6),
            Self::FromSend => RGBColor(0xeb, 0x68, 0x34),
            Self::ClosedLoop => RGBColor(0x4a, 0x3a, 0xa7),
            Self::Median => RGBColor(0x6d, 0xa7, 0xec),
            Self::Tail => RGBColor(0x25, 0x6a, 0xbf),
            Self::Max => RGBColor(0x0d, 0x36, 0x6b),
            Self::Expected => RGBColor(0xc3, 0xc2, 0xb7),
            Self::Actual => RGBColor(0x1b, 0x9a, 0x6c),
            Self::Lost => RGBColor(0xe3, 0x49, 0x48),
            Self::Unanswered => RGBColor(0xc0, 0x7a, 0x00),
            Self::Limit => RGBColor(0x9a, 0x6f, 0xc4),
        }
    }

    fn style(self) -> ShapeStyle {
        // What often has another curve over it shows on both sides of that.
        let width = match self {
            Self::Expected | Self::ClosedLoop => 9,
            _ => 4,
        };
        self.rgb().stroke_width(width)
    }
}

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for PlotError {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        Self(error.to_string())
    }
}

/// An [`Axis`] as plotters has them.
struct Coordinate<'a>(&'a Axis);

type Chart<'a, 'b, 'c> =
    ChartContext<'a, SVGBackend<'b>, Cartesian2d<Coordinate<'c>, Coordinate<'c>>>;

impl Ranged for Coordinate<'_> {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        RangedCoordf64::from(self.range()).map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            // Those are drawn in addition, and without labels.
            return Vec::new();
        }
        self.0.ticks.iter().map(|(at, _)| *at).collect()
    }

    fn range(&self) -> Range<f64> {
        self.0.range.clone()
    }
}

impl ValueFormatter<f64> for Coordinate<'_> {
    fn format_ext(&self, value: &f64) -> String {
        let tick = self.0.ticks.iter().find(|(tick, _)| tick == value);
        tick.map(|(_, label)| label.clone()).unwrap_or_default()
    }
}

fn draw_curve(chart: &mut Chart<'_, '_, '_>, curve: &Curve) -> Result<(), PlotError> {
    let style = curve.colour.style();
    for piece in &curve.pieces {
        if let [point] = piece[..] {
            // A line of one point would not be seen.
            let dot = Circle::new(point, DOT_RADIUS, style.filled());
            chart.draw_series([dot])?;
        } else {
            chart.draw_series(LineSeries::new(piece.iter().copied(), style))?;
        }
    }
    Ok(())
}

fn draw_mark(chart: &mut Chart<'_, '_, '_>, mark: &Mark) -> Result<(), PlotError> {
    let style = mark.colour.style();
    if mark.is_good {
        chart.draw_series([Circle::new(mark.at, DOT_RADIUS, style.filled())])?;
    } else {
        chart.draw_series([Cross::new(mark.at, CROSS_RADIUS, style)])?;
    }
    Ok(())
}

impl fmt::Display for Colour {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.property())
    }
}

/// In SVG's units, all of which are whole: the page shows two of them on a point, so that
/// curves are smooth.
const SIZE: (u32, u32) = (1120, 640);

/// What plotters divides by 1.24: 24 units, 12 points.
const FONT_SIZE: f64 = 29.8;

const DOT_RADIUS: i32 = 6;
const CROSS_RADIUS: i32 = 9;
const TEXT: RGBColor = RGBColor(0x52, 0x51, 0x4e);
const GRID: RGBColor = RGBColor(0xe1, 0xe0, 0xd9);
const AXIS: RGBColor = RGBColor(0xb5, 0xb4, 0xaa);

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Colour; 11] = [
        Colour::FromDue,
        Colour::FromSend,
        Colour::ClosedLoop,
        Colour::Median,
        Colour::Tail,
        Colour::Max,
        Colour::Expected,
        Colour::Actual,
        Colour::Lost,
        Colour::Unanswered,
        Colour::Limit,
    ];

    fn plot(pieces: Vec<Vec<(f64, f64)>>) -> String {
        let plot = Plot {
            x: Axis::linear("time, in s", 10.0),
            y: Axis::linear("a <rate>", 100.0),
            curves: vec![Curve {
                name: "rate",
                colour: Colour::Actual,
                pieces,
            }],
            marks: Vec::new(),
        };
        plot.draw().unwrap()
    }

    #[test]
    fn a_curve_has_all_of_its_points_at_their_places() {
        let svg = plot(vec![vec![(0.0, 0.0), (5.0, 50.0), (10.0, 100.0)]]);
        let line = svg.lines().find(|line| line.contains("#1B9A6C")).unwrap();
        let points = line.split("points=\"").nth(1).unwrap();
        let points = points.split('"').next().unwrap();
        let points: Vec<(f64, f64)> = points
            .split_whitespace()
            .map(|point| point.split_once(',').unwrap())
            .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
            .collect();
        let [first, middle, last] = points[..] else {
            panic!("{points:?}");
        };
        // The axes lie at the left and at the bottom, and the curve ends in the corners.
        assert_eq!(first, (158.0, 551.0));
        assert_eq!(last, (1063.0, 16.0));
        assert!((middle.0 - (first.0 + last.0) / 2.0).abs() <= 1.0);
        assert!((middle.1 - (first.1 + last.1) / 2.0).abs() <= 1.0);
    }

    #[test]
    fn a_point_alone_is_a_dot() {
        let svg = plot(vec![vec![(1.0, 1.0)], vec![(3.0, 1.0), (4.0, 1.0)]]);
        assert_eq!(svg.matches("<circle").count(), 1);
        let curves = svg.lines().filter(|line| line.contains("stroke=\"#1B9A6C"));
        assert_eq!(curves.count(), 1);
    }

    #[test]
    fn good_marks_are_dots_and_bad_ones_crosses() {
        let mark = |is_good| Mark {
            at: (5.0, 50.0),
            colour: Colour::Tail,
            is_good,
        };
        for (marks, dots, lines) in [
            (vec![mark(true)], 1, 0),
            (vec![mark(false)], 0, 2),
            (vec![mark(false), mark(true)], 1, 2),
        ] {
            let plot = Plot {
                x: Axis::linear("", 10.0),
                y: Axis::linear("", 100.0),
                curves: Vec::new(),
                marks,
            };
            let svg = plot.draw().unwrap();
            let of = |tag: &str, colour: &str| {
                let elements = svg.lines().filter(|line| line.starts_with(tag));
                elements.filter(|line| line.contains(colour)).count()
            };
            assert_eq!(of("<circle", "fill=\"#256ABF\""), dots, "{svg}");
            assert_eq!(of("<line", "stroke=\"#256ABF\""), lines, "{svg}");
        }
    }

    #[test]
    fn axes_have_titles_and_labels() {
        let svg = plot(vec![]);
        for text in ["time, in s", "a &lt;rate&gt;", "10", "100"] {
            assert!(svg.contains(&format!(">\n{text}\n</text>")), "no {text}");
        }
    }

    #[test]
    fn the_page_knows_every_colour_of_a_plot() {
        let page = include_str!("style.css");
        for (at, colour) in ALL.into_iter().enumerate() {
            let RGBColor(red, green, blue) = colour.rgb();
            let hex = format!("#{red:02X}{green:02X}{blue:02X}");
            let rule = format!("[stroke=\"{hex}\"] {{ stroke: var({colour}); }}");
            assert!(page.contains(&rule), "{rule}");
            assert_eq!(page.matches(&format!("{colour}: #")).count(), 2, "{colour}");
            for other in &ALL[..at] {
                assert_ne!(other.rgb(), colour.rgb());
            }
        }
        for colour in [TEXT, GRID, AXIS] {
            let RGBColor(red, green, blue) = colour;
            let hex = format!("=\"#{red:02X}{green:02X}{blue:02X}\"");
            assert!(page.contains(&hex), "{hex}");
        }
    }
}
