#include "report/page_head.h"

namespace rosa::report {

void write_page_head(Markup& out, const PageHead& head) {
  out.open("head").leaf("meta", {{"charset", "utf-8"}});
  out.leaf("meta", {{"name", "viewport"}, {"content", "width=device-width, initial-scale=1"}});
  out.leaf("meta", {{"name", "color-scheme"}, {"content", "light dark"}});
  out.leaf("meta", {{"http-equiv", "Content-Security-Policy"},
                    {"content", "default-src 'none'; style-src 'unsafe-inline'; img-src data:"}});
  out.leaf("meta", {{"name", "generator"}, {"content", "rosa report"}});
  if (head.refresh_s > 0) {
    out.leaf("meta", {{"http-equiv", "refresh"}, {"content", std::to_string(head.refresh_s)}});
  }
  out.leaf("link", {{"rel", "icon"}, {"href", "data:,"}});
  out.element("title", {}, head.title).style_sheet(head.style).close();
}

}  // namespace rosa::report
