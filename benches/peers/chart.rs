//! Charts, as small SVG files that are legible on any background.

use std::fmt::Write;

use crate::growth::Curves;

/// Bars of one work: who, and which multiple.
pub type Group = (String, Vec<(String, f64)>);

const INK: &str = "#1c1c1c";
const GRID: &str = "#d8d8d8";
/// As many as a chart has bars or lines of; told apart by lightness too.
const COLOURS: [&str; 5] = ["#1f4e79", "#d9822b", "#6aa84f", "#8e5ea2", "#7f7f7f"];

/// Horizontal bars on a logarithmic scale, from 1 to the right where piton is ahead.
pub fn bars(title: &str, legend: &str, groups: &[Group]) -> String {
    const WIDTH: f64 = 860.0;
    const LEFT: f64 = 330.0;
    const RIGHT: f64 = 60.0;
    const TOP: f64 = 92.0;
    const BAR: f64 = 13.0;
    const GAP: f64 = 12.0;
    let (low, high) = decades(groups);
    let x = |value: f64| {
        let share = (value.log10() - low) / (high - low);
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    };
    let names = names(groups);
    let bars: usize = groups.iter().map(|(_, bars)| bars.len()).sum();
    let height = TOP + bars as f64 * BAR + groups.len() as f64 * GAP + 20.0;
    let mut svg = begin(WIDTH, height, title, legend);
    key(&mut svg, &names);
    for decade in low as i32..=high as i32 {
        let at = x(10_f64.powi(decade));
        line(&mut svg, (at, TOP - 8.0), (at, height - 14.0), if decade == 0 { INK } else { GRID });
        text(&mut svg, (at, TOP - 12.0), "middle", &times(10_f64.powi(decade)));
    }
    let mut y = TOP;
    for (label, bars) in groups {
        let middle = y + bars.len() as f64 * BAR / 2.0 + 4.0;
        text(&mut svg, (LEFT - 10.0, middle), "end", label);
        for (name, value) in bars {
            let (from, to) = (x(1.0).min(x(*value)), x(1.0).max(x(*value)));
            let colour = COLOURS[names.iter().position(|other| other == name).unwrap() % 5];
            let _ = writeln!(
                svg,
                r#"<rect x="{from:.1}" y="{y:.1}" width="{:.1}" height="{:.1}" fill="{colour}"/>"#,
                (to - from).max(1.0),
                BAR - 2.0,
            );
            text(&mut svg, (to + 4.0, y + 9.5), "start", &times(*value));
            y += BAR;
        }
        y += GAP;
    }
    svg + "</svg>\n"
}

/// Lines over a logarithmic scale.
pub fn lines(curves: &Curves) -> String {
    const WIDTH: f64 = 640.0;
    const HEIGHT: f64 = 340.0;
    const LEFT: f64 = 70.0;
    const RIGHT: f64 = 30.0;
    const TOP: f64 = 88.0;
    const BOTTOM: f64 = 40.0;
    let points = || curves.lines.iter().flat_map(|(_, points)| points.iter());
    let most = points().map(|(count, _)| *count as f64).fold(10.0, f64::max).log10();
    let top = points().map(|(_, value)| *value).fold(1.0, f64::max) * 1.15;
    let x = |count: f64| LEFT + count.log10() / most * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM);
    let title = format!("One request, and {}", curves.of);
    let mut svg = begin(WIDTH, HEIGHT, &title, "µs on one connection; flat is good");
    let names: Vec<_> = curves.lines.iter().map(|(name, _)| (*name).to_owned()).collect();
    key(&mut svg, &names);
    for step in 0..=4 {
        let value = top / 4.0 * f64::from(step);
        line(&mut svg, (LEFT, y(value)), (WIDTH - RIGHT, y(value)), GRID);
        text(&mut svg, (LEFT - 8.0, y(value) + 4.0), "end", &format!("{value:.0}"));
    }
    for decade in 0..=most as i32 {
        let count = 10_f64.powi(decade);
        text(&mut svg, (x(count), HEIGHT - BOTTOM + 18.0), "middle", &grouped(count as usize));
    }
    for ((_, points), colour) in curves.lines.iter().zip(COLOURS) {
        let path: Vec<_> = points
            .iter()
            .map(|(count, value)| format!("{:.1},{:.1}", x(*count as f64), y(*value)))
            .collect();
        let _ = writeln!(
            svg,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"#,
            path.join(" "),
        );
        for point in path {
            let (x, y) = point.split_once(',').unwrap();
            let _ = writeln!(svg, r#"<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>"#);
        }
    }
    svg + "</svg>\n"
}

/// A number with commas.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut text = digits[..first].to_owned();
    for at in (first..digits.len()).step_by(3) {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&digits[at..at + 3]);
    }
    text
}

/// The powers of ten between which all values lie, 1 among them.
fn decades(groups: &[Group]) -> (f64, f64) {
    let values = || groups.iter().flat_map(|(_, bars)| bars.iter().map(|(_, value)| *value));
    let low = values().fold(1.0, f64::min).log10().floor();
    let high = values().fold(10.0, f64::max).log10().ceil();
    (low, high)
}

fn names(groups: &[Group]) -> Vec<String> {
    let mut names = Vec::new();
    for (name, _) in groups.iter().flat_map(|(_, bars)| bars) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// A multiple with as many digits as mean something.
pub fn times(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{}×", grouped(value.round() as usize)),
        value if value >= 10.0 => format!("{value:.0}×"),
        value if value >= 0.1 => format!("{value:.2}×").replace(".00×", "×"),
        value => format!("{value:.3}×").replace(".010×", ".01×"),
    }
}

fn begin(width: f64, height: f64, title: &str, legend: &str) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>{title}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    let _ = writeln!(
        svg,
        r#"<text x="16" y="24" font-size="16" font-weight="bold" fill="{INK}">{title}</text>"#
    );
    text(&mut svg, (16.0, 42.0), "start", legend);
    svg
}

fn key(svg: &mut String, names: &[String]) {
    let mut x = 16.0;
    for (name, colour) in names.iter().zip(COLOURS) {
        let _ =
            writeln!(svg, r#"<rect x="{x:.0}" y="52" width="11" height="11" fill="{colour}"/>"#);
        text(svg, (x + 16.0, 62.0), "start", name);
        x += 36.0 + name.chars().count() as f64 * 7.0;
    }
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    let _ = writeln!(
        svg,
        r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" stroke="{colour}"/>"#,
        from.0, from.1, to.0, to.1,
    );
}

fn text(svg: &mut String, at: (f64, f64), anchor: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        r#"<text x="{:.1}" y="{:.1}" text-anchor="{anchor}" fill="{INK}">{text}</text>"#,
        at.0, at.1,
    );
}
