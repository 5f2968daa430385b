//! A document as PDF 1.7 on A4, with a font in it that has Latin, Greek and Cyrillic. Written by
//! hand, because text and lines are all that is needed.

use std::fmt::Write as _;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use ttf_parser::{Face, GlyphId};
use weir_api::Invoice;

use super::html::{about, sums, title};
use crate::api::ApiError;

static FONT: &[u8] = include_bytes!("../../fonts/DejaVuSans.ttf");

const WIDTH: f32 = 595.0;
const HEIGHT: f32 = 842.0;
const MARGIN: f32 = 48.0;
/// Where columns begin, and whether they end there instead.
const COLUMNS: [(f32, Side); 6] = [
    (48.0, Side::Left),
    (75.0, Side::Left),
    (215.0, Side::Left),
    (355.0, Side::Right),
    (365.0, Side::Left),
    (547.0, Side::Right),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// The PDF.
pub fn pdf(invoice: &Invoice) -> Result<Vec<u8>, ApiError> {
    let face = Face::parse(FONT, 0).map_err(ApiError::internal)?;
    let mut paper = Paper {
        face,
        pages: vec![String::new()],
        y: HEIGHT - MARGIN,
    };
    let document = &invoice.document;
    for line in document.seller.lines() {
        paper.row(9.0, &[(MARGIN, Side::Left, line)]);
    }
    paper.y -= 20.0;
    for line in document.customer.lines() {
        paper.row(10.0, &[(MARGIN, Side::Left, line)]);
    }
    paper.y -= 20.0;
    paper.row(16.0, &[(MARGIN, Side::Left, &title(invoice))]);
    for line in wrapped(&about(invoice), 100) {
        paper.row(8.0, &[(MARGIN, Side::Left, &line)]);
    }
    paper.y -= 12.0;
    paper.cells(["Line", "Project / environment", "Use", "Quantity", "Price", "Amount"]);
    for line in &document.lines {
        let place: String = format!("{}/{}", line.project, line.environment)
            .chars()
            .take(30)
            .collect();
        let price = format!("{} (prices {})", line.price, line.price_version);
        let number = line.number.to_string();
        paper.cells([&number, &place, &line.sku, &line.quantity, &price, &line.amount]);
    }
    paper.y -= 10.0;
    for (name, amount) in sums(document) {
        paper.row(9.0, &[(365.0, Side::Left, &name), (547.0, Side::Right, &amount)]);
    }
    paper.file().map_err(ApiError::internal)
}

/// Lines of about so many characters.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && lines[last].chars().count() + word.chars().count() >= width {
            lines.push(word.to_owned());
        } else {
            if !lines[last].is_empty() {
                lines[last].push(' ');
            }
            lines[last].push_str(word);
        }
    }
    lines
}

struct Paper<'a> {
    face: Face<'a>,
    /// What is drawn on each page.
    pages: Vec<String>,
    /// Where the next row goes, from below.
    y: f32,
}

impl Paper<'_> {
    fn cells(&mut self, texts: [&str; 6]) {
        let cells: Vec<_> = COLUMNS
            .iter()
            .zip(texts)
            .map(|((x, side), text)| (*x, *side, text))
            .collect();
        self.row(7.5, &cells);
    }

    fn row(&mut self, size: f32, texts: &[(f32, Side, &str)]) {
        self.y -= size * 1.5;
        if self.y < MARGIN {
            self.pages.push(String::new());
            self.y = HEIGHT - MARGIN - size * 1.5;
        }
        for (x, side, text) in texts {
            let glyphs: Vec<GlyphId> = text
                .chars()
                .map(|letter| self.face.glyph_index(letter).unwrap_or(GlyphId(0)))
                .collect();
            let width: f32 = glyphs.iter().map(|glyph| self.advance(*glyph) * size / 1_000.0).sum();
            let left = if *side == Side::Right { x - width } else { *x };
            let hex = glyphs.iter().fold(String::new(), |mut hex, glyph| {
                let _ = write!(hex, "{:04X}", glyph.0);
                hex
            });
            if let Some(page) = self.pages.last_mut() {
                let _ = writeln!(page, "BT /F {size} Tf {left:.2} {:.2} Td <{hex}> Tj ET", self.y);
            }
        }
    }

    /// In thousandths of the size.
    fn advance(&self, glyph: GlyphId) -> f32 {
        let units = f32::from(self.face.units_per_em());
        f32::from(self.face.glyph_hor_advance(glyph).unwrap_or(0)) * 1_000.0 / units
    }

    fn file(&self) -> std::io::Result<Vec<u8>> {
        // 1 catalogue, 2 pages, 3 font, 4 its glyphs, 5 description, 6 file, 7 letters of glyphs;
        // then page and content in turn.
        let kids: String = (0..self.pages.len())
            .map(|page| format!("{} 0 R ", 8 + page * 2))
            .collect();
        let widths: String = (0..self.face.number_of_glyphs())
            .map(|glyph| format!("{:.0} ", self.advance(GlyphId(glyph))))
            .collect();
        let units = f32::from(self.face.units_per_em());
        let scaled = |value: i16| f32::from(value) * 1_000.0 / units;
        let bounds = self.face.global_bounding_box();
        let mut objects: Vec<Vec<u8>> = vec![
            b"<</Type/Catalog/Pages 2 0 R>>".to_vec(),
            format!("<</Type/Pages/Kids[{kids}]/Count {}>>", self.pages.len()).into_bytes(),
            b"<</Type/Font/Subtype/Type0/BaseFont/DejaVuSans/Encoding/Identity-H/DescendantFonts[4 0 R]/ToUnicode 7 0 R>>".to_vec(),
            format!("<</Type/Font/Subtype/CIDFontType2/BaseFont/DejaVuSans/CIDToGIDMap/Identity/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>/FontDescriptor 5 0 R/W[0[{widths}]]>>").into_bytes(),
            format!(
                "<</Type/FontDescriptor/FontName/DejaVuSans/Flags 4/ItalicAngle 0/StemV 80/Ascent {:.0}/Descent {:.0}/CapHeight {:.0}/FontBBox[{:.0} {:.0} {:.0} {:.0}]/FontFile2 6 0 R>>",
                scaled(self.face.ascender()), scaled(self.face.descender()),
                scaled(self.face.capital_height().unwrap_or(1_493)),
                scaled(bounds.x_min), scaled(bounds.y_min), scaled(bounds.x_max), scaled(bounds.y_max)
            ).into_bytes(),
            stream(FONT, &format!("/Length1 {}", FONT.len()))?,
            stream(self.letters().as_bytes(), "")?,
        ];
        for (index, page) in self.pages.iter().enumerate() {
            objects.push(format!("<</Type/Page/Parent 2 0 R/MediaBox[0 0 {WIDTH} {HEIGHT}]/Resources<</Font<</F 3 0 R>>>>/Contents {} 0 R>>", 9 + index * 2).into_bytes());
            objects.push(stream(page.as_bytes(), "")?);
        }
        assemble(&objects)
    }

    /// Which letter a glyph is, so that text can be searched and copied.
    fn letters(&self) -> String {
        let mut pairs = Vec::new();
        for letter in ('\u{20}'..='\u{7e}')
            .chain('\u{a0}'..='\u{52f}')
            .chain('\u{2010}'..='\u{20bf}')
        {
            if let Some(glyph) = self.face.glyph_index(letter) {
                pairs.push(format!("<{:04X}> <{:04X}>\n", glyph.0, u32::from(letter)));
            }
        }
        let mut map = "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /Weir def /CMapType 2 def\n1 begincodespacerange <0000> <FFFF> endcodespacerange\n".to_owned();
        for pairs in pairs.chunks(100) {
            let _ = writeln!(map, "{} beginbfchar\n{}endbfchar", pairs.len(), pairs.concat());
        }
        map + "endcmap CMapName currentdict /CMap defineresource pop end end\n"
    }
}

fn stream(content: &[u8], more: &str) -> std::io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content)?;
    let packed = encoder.finish()?;
    let head = format!("<</Length {}/Filter/FlateDecode{more}>>\nstream\n", packed.len());
    Ok([head.as_bytes(), &packed, b"\nendstream"].concat())
}

/// Objects, numbered from 1, and where each of them is.
fn assemble(objects: &[Vec<u8>]) -> std::io::Result<Vec<u8>> {
    let mut file = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n".to_vec();
    let mut places = String::new();
    for (index, object) in objects.iter().enumerate() {
        let _ = writeln!(places, "{:010} 00000 n ", file.len());
        writeln!(file, "{} 0 obj", index + 1)?;
        file.extend_from_slice(object);
        file.extend_from_slice(b"\nendobj\n");
    }
    let (start, count) = (file.len(), objects.len() + 1);
    write!(
        file,
        "xref\n0 {count}\n0000000000 65535 f \n{places}trailer\n<</Size {count}/Root 1 0 R>>\nstartxref\n{start}\n%%EOF\n"
    )?;
    Ok(file)
}
