// The <head> of every page: it asks for nothing from outside and runs nothing, whatever the page's texts hold.
#pragma once

#include <string>

#include "report/markup.h"

namespace rosa::report {

struct PageHead {
  std::string title;
  std::string style;
  int refresh_s = 0;  // a browser loads the page anew after so many seconds; 0: never
};

void write_page_head(Markup& out, const PageHead& head);

}  // namespace rosa::report
