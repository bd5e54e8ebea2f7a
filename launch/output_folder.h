// OutputFolder: a folder that a command writes as a whole, beside its place and renamed onto it when it is complete.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace rosa::launch {

struct OutputFolderRequest {
  std::string option;                              // as the user knows it: "-o"
  std::filesystem::path path;                      // what is there and made by the command is replaced
  std::vector<std::filesystem::path> inputs = {};  // folders that are read: nothing is written to or into them
  std::function<bool(const std::string& name)> is_own_name = {};  // what the command calls its files; "lora/", "lora/a"
  std::function<bool(const std::filesystem::path& folder)> is_own = {};  // whether a folder of such names is its work
};

class OutputFolder {
 public:
  // Looks before any work is done. Throws ConfigError where the folder is an input or lies in one, or where what is
  // there was not made by the command or holds somebody's own files, FileError where it can't be made. An empty folder
  // is taken; a link is followed.
  explicit OutputFolder(OutputFolderRequest request);
  // Without a commit() it leaves no trace.
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  // Makes the folder to write to. Throws FileError.
  const std::filesystem::path& begin();
  // Makes it durable and puts it in its place, in one step where the system can. Throws FileError.
  void commit();

 private:
  void check_existing() const;

  OutputFolderRequest request_;
  std::filesystem::path target_, temporary_;
};

}  // namespace rosa::launch
