// `rosa doctor`: what a bug report must say about program, machine and launch, and what looks wrong with them.
#include <ATen/ATen.h>
#include <ATen/Version.h>
#include <ATen/detail/CUDAHooksInterface.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/formatted.h"
#include "base/process_memory.h"
#include "launch/build_info.h"
#include "launch/command.h"
#include "launch/exit_code.h"
#include "launch/findings.h"
#include "launch/host_facts.h"
#include "parallel/mpi_communicator.h"
#include "parallel/mpi_session.h"
#include "parallel/nccl_communicator.h"
#include "training/config.h"

namespace rosa::launch {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "not set" : value;
}

std::string mkl_version() {
  // "Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build ..."
  const std::string version = at::get_mkl_version();
  return version.substr(0, version.find("-Product"));
}

std::vector<Finding> program_findings() {
  return {
      {"rosa", kBuildVersion, ""},
      {"compiler", kBuildCompiler, ""},
      {"LibTorch", kBuildTorch, ""},
      {"MKL", mkl_version(), ""},
      {"MKL_CBWR", environment("MKL_CBWR"),
       environment("MKL_CBWR") == "AUTO,STRICT" ? "" : "another value than AUTO,STRICT gives up reproducible bits"},
      {"OpenMP", at::get_openmp_version(), ""},
      {"NCCL", parallel::nccl_version(), ""},
  };
}

// Seconds of one product of a layer's size, the best of some.
double seconds_of_product(at::ScalarType dtype) {
  constexpr int kRepeats = 5;
  const at::Tensor input = at::ones({256, 1024}, dtype), weight = at::ones({1024, 1024}, dtype);
  at::linear(input, weight);  // what is made once
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kRepeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    at::linear(input, weight);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return best;
}

// model.compute_dtype: bfloat16 halves memory on every processor; whether it is fast depends on its instructions.
Finding bfloat16_finding(const HostFacts& facts) {
  std::string by;
  for (const auto& [flag, name] : {std::pair{"amx_bf16", "AMX"}, {"avx512_bf16", "AVX-512 BF16"}, {"bf16", "BF16"}}) {
    if (by.empty() && facts.cpu_flags.contains(flag)) by = name;
  }
  const double ratio = seconds_of_product(at::kFloat) / seconds_of_product(at::kBFloat16);
  std::string text = base::concat("this processor has ", by.empty() ? "no instructions for them" : by,
                                  "; one of 256 x 1024 by 1024 x ", "1024 took ", base::formatted("%.2f", 1 / ratio),
                                  " of its time in float32 just now");
  return {"bfloat16 products", text,
          ratio < 0.8 ? "model.compute_dtype: float32 is faster here; bfloat16 saves memory alone" : ""};
}

std::vector<Finding> gpu_findings() {
  if (!kBuildCuda) return {{"GPU", "this build has no CUDA (ROSA_CUDA=ON builds it)", ""}};
  if (!at::globalContext().hasCUDA()) {
    return {{"GPU", "built with CUDA, and no GPU answers", "nvidia-smi tells whether the driver sees one"}};
  }
  return {{"GPU", base::concat(at::detail::getCUDAHooks().deviceCount(), " visible"), ""}};
}

std::vector<Finding> machine_findings(const HostFacts& facts) {
  std::string cores =
      base::concat(core_list_text(facts.cores), " (", facts.cores.size(), " of ", facts.num_cores_of_machine, ")");
  Finding cgroup{"core limit", facts.cgroup_cores > 0 ? base::concat(facts.cgroup_cores, " cores (cgroup)") : "none",
                 ""};
  if (facts.cgroup_cores > 0 && facts.cgroup_cores < static_cast<double>(facts.cores.size())) {
    cgroup.warning = "more cores are visible than may be used: give threads by number in the configuration";
  }
  Finding memory{"memory",
                 bytes_text(facts.memory_bytes) + ", available " + bytes_text(facts.available_memory_bytes) +
                     (facts.cgroup_memory_bytes > 0 ? ", limited to " + bytes_text(facts.cgroup_memory_bytes) : ""),
                 ""};
  if (facts.available_memory_bytes < (int64_t{2} << 30)) memory.warning = "less than 2 GiB are available";
  const auto own = base::read_process_memory();
  const Finding process{
      "this process",
      own ? base::concat("resident ", bytes_text(own->resident_bytes), ", its share of shared pages counted (PSS) ",
                         bytes_text(own->proportional_bytes))
          : std::string("its share of shared pages is not known (no /proc/self/smaps_rollup)"),
      ""};
  Finding shared{"/dev/shm", bytes_text(facts.free_shared_memory_bytes) + " free", ""};
  if (facts.free_shared_memory_bytes < (int64_t{64} << 20)) {
    shared.warning = "MPI needs more between the ranks of a host (container: --shm-size)";
  }
  const int64_t disk = free_disk_bytes(std::filesystem::current_path());
  Finding here{"disk here", bytes_text(disk) + " free", disk < (int64_t{1} << 30) ? "less than 1 GiB is free" : ""};
  return {{"host", facts.host, ""},
          {"system", facts.system, ""},
          {"CPU", facts.cpu, ""},
          {"CPU capability", at::get_cpu_capability(), ""},
          bfloat16_finding(facts),
          {"cores", cores, ""},
          cgroup,
          {"compute threads",
           base::concat(training::ComputeSection().threads, " of ", usable_cores(facts),
                        " cores a rank unless compute.threads says more; automata take the rest"),
           ""},
          memory,
          process,
          shared,
          here,
          {"temporary folder", std::filesystem::temp_directory_path().string(), ""}};
}

// One line for each host: how the others find it. A job of several hosts fails, or hangs, by what is wrong here.
std::vector<Finding> network_findings(parallel::Communicator& communicator, const HostFacts& facts) {
  const NetworkFacts network = read_network_facts();
  std::string own = network.own_address.empty() ? "nothing" : network.own_address;
  for (const std::string& interface : network.interfaces) own += "\t" + interface;
  const std::vector<std::string> hosts = communicator.all_gather_text(facts.host);
  const std::vector<std::string> lines = communicator.all_gather_text(own);
  const std::set<std::string> names(hosts.begin(), hosts.end());
  const bool has_several = names.size() > 1;
  std::vector<Finding> findings;
  for (const std::string& name : names) {
    const auto rank = static_cast<std::size_t>(std::find(hosts.begin(), hosts.end(), name) - hosts.begin());
    const std::size_t tab = lines[rank].find('\t');
    const std::string address = lines[rank].substr(0, tab);
    std::string interfaces = tab == std::string::npos ? "no network" : lines[rank].substr(tab + 1);
    std::replace(interfaces.begin(), interfaces.end(), '\t', ',');
    Finding finding{"host " + name, base::concat(interfaces, "; its own name resolves to ", address), ""};
    if (has_several && address == "nothing") {
      finding.warning = "other hosts and NCCL may not find it: give the name an address in DNS or /etc/hosts";
    } else if (has_several && address.starts_with("127.")) {
      finding.warning = "it calls itself by a loopback address, which other hosts can't use: correct its /etc/hosts";
    }
    findings.push_back(finding);
  }
  return findings;
}

std::vector<Finding> limit_findings(const parallel::Communicator& communicator) {
  const ProcessLimits limits = read_process_limits();
  Finding files{"open files", limits.open_files < 0 ? "unlimited" : std::to_string(limits.open_files), ""};
  // Data, checkpoints and a connection or two to every rank.
  if (limits.open_files >= 0 && limits.open_files < 256 + 4 * communicator.world_size()) {
    files.warning = "too few for this many ranks: ulimit -n 65536";
  }
  const std::string locked = limits.locked_memory_bytes < 0 ? "unlimited" : bytes_text(limits.locked_memory_bytes);
  return {files, {"locked memory", locked + " (InfiniBand wants unlimited: ulimit -l)", ""}};
}

// What one rank tells rank 0; all on one line, fields separated by tabs.
std::string rank_line(const parallel::Communicator& communicator, const HostFacts& facts) {
  return base::concat(facts.host, "\tlocal rank ", communicator.local_rank(), " of ", communicator.local_size(),
                      "\tcores ", core_list_text(facts.cores), "\t", at::get_cpu_capability());
}

std::vector<Finding> launch_findings(const parallel::MpiSession& session, parallel::Communicator& communicator,
                                     const HostFacts& facts, bool started_by_launcher) {
  std::vector<Finding> findings = {
      {"MPI", parallel::MpiSession::library_version(), ""},
      {"Slurm", environment("SLURM_JOB_ID") == "not set" ? "no job" : "job " + environment("SLURM_JOB_ID"), ""},
      {"thread level", session.thread_level(),
       session.thread_level() == "MPI_THREAD_MULTIPLE" ? "" : "overlap of collectives needs MPI_THREAD_MULTIPLE"},
      {"ranks",
       started_by_launcher ? std::to_string(communicator.world_size())
                           : "1 (no launcher; mpirun -np N rosa doctor shows a job)",
       ""},
  };
  const std::vector<std::string> lines = communicator.all_gather_text(rank_line(communicator, facts));
  const std::string& first = lines.front();
  for (std::size_t rank = 0; rank < lines.size(); ++rank) {
    std::string line = lines[rank];
    Finding finding{base::concat("rank ", rank), "", ""};
    if (line.substr(line.rfind('\t')) != first.substr(first.rfind('\t'))) {
      finding.warning =
          "another CPU capability than rank 0: results would depend on the placement; set "
          "ATEN_CPU_CAPABILITY alike everywhere";
    }
    std::replace(line.begin(), line.end(), '\t', ' ');
    finding.value = line;
    findings.push_back(finding);
  }
  const bool is_bound = communicator.world_size() > 1 && facts.cores.size() == 1 && facts.num_cores_of_machine > 1;
  if (is_bound) {
    findings.push_back(
        {"binding", "every rank is bound to one core", "its automaton threads starve there: mpirun --bind-to none"});
  }
  const int usable = is_bound ? facts.num_cores_of_machine : usable_cores(facts);
  if (communicator.local_size() > usable) {
    findings.push_back({"oversubscription", base::concat(communicator.local_size(), " ranks on ", usable, " cores"),
                        "waiting ranks take the cores from working ones: mpirun --mca mpi_yield_when_idle 1"});
  }
  return findings;
}

int run_doctor() {
  const bool started_by_launcher = parallel::MpiSession::started_by_launcher();  // MPI_Init changes the environment
  parallel::MpiSession session(nullptr, nullptr);
  const auto communicator = parallel::make_mpi_communicator();
  const HostFacts facts = read_host_facts();
  const std::vector<Finding> launch = launch_findings(session, *communicator, facts, started_by_launcher);
  const std::vector<Finding> network = network_findings(*communicator, facts);
  if (communicator->rank() != 0) return kExitOk;
  int num_warnings = print_findings("Program", program_findings());
  num_warnings += print_findings("Machine (rank 0)", machine_findings(facts));
  num_warnings += print_findings("Device", gpu_findings());
  num_warnings += print_findings("Limits (rank 0)", limit_findings(*communicator));
  num_warnings += print_findings("Launch", launch);
  num_warnings += print_findings("Network", network);
  print_warning_count(num_warnings);
  return kExitOk;
}

}  // namespace

void add_doctor_command(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand(
      "doctor", "Says what program, machine and launch are like: the first thing in a bug report.");
  command->footer("Under mpirun it reports every rank: mpirun -np 2 --bind-to none rosa doctor\n  rosa doctor");
  command->callback([&action] { action = run_doctor; });
}

}  // namespace rosa::launch
