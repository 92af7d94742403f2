// parallel_for (threads.h): a pool that starts at first use and sleeps when it has nothing to do.
#include "common/threads.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace gxnor {
namespace {

constexpr int kMaxWorkers = 255;
constexpr int kSpins = 3000;  // 50 to 80 microseconds, about what waking a thread takes: at most twice the better choice
constexpr int kYield = 64;    // of them, one in so many gives way

void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits awake for `ready`, as long as that pays. A thread that has been woken on the core of the one that it works for would
// keep it from going on: it gives way now and then.
template <typename F>
void spin(F&& ready) {
  for (int i = 1; i <= kSpins && !ready(); ++i)
    if (i % kYield)
      pause();
    else
      std::this_thread::yield();
}

// One call of parallel_for, on its caller's stack. `helpers` and `wanted` are guarded by the pool's mutex.
struct Loop {
  const std::function<void(int64_t, int64_t)>& body;
  const int64_t n, grain;
  int wanted;  // workers that may still join
  std::atomic<int64_t> next{0};
  std::atomic<int> helpers{0};  // workers inside
  std::exception_ptr error{};

  void work(std::mutex& mutex) {
    try {
      for (;;) {
        const int64_t begin = next.fetch_add(grain, std::memory_order_relaxed);
        if (begin >= n) return;
        body(begin, std::min(begin + grain, n));
      }
    } catch (...) {
      next.store(n, std::memory_order_relaxed);
      std::lock_guard<std::mutex> lock(mutex);
      if (!error) error = std::current_exception();
    }
  }
};

class Pool {
 public:
  void run(Loop& loop) {
    const bool one = loop.wanted == 1;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      try {
        while (workers_ < std::min(loop.wanted, kMaxWorkers)) {
          std::thread(&Pool::serve, this).detach();
          ++workers_;
        }
      } catch (const std::system_error&) {
        // No more threads to be had: those there are, and the caller, do the work.
      }
      loops_.push_back(&loop);
      posted_.fetch_add(1, std::memory_order_release);
    }
    one ? wake_.notify_one() : wake_.notify_all();
    loop.work(mutex_);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      loops_.erase(std::find(loops_.begin(), loops_.end(), &loop));
    }
    spin([&] { return loop.helpers.load(std::memory_order_acquire) == 0; });
    std::unique_lock<std::mutex> lock(mutex_);  // also after the spin: the last helper may still be about to unlock
    done_.wait(lock, [&] { return loop.helpers.load(std::memory_order_relaxed) == 0; });
  }

 private:
  void serve() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      const auto found = std::find_if(loops_.begin(), loops_.end(), [](const Loop* loop) {
        return loop->wanted > 0 && loop->next.load(std::memory_order_relaxed) < loop->n;
      });
      if (found != loops_.end()) {
        Loop& loop = **found;
        --loop.wanted;
        loop.helpers.fetch_add(1, std::memory_order_relaxed);
        lock.unlock();
        loop.work(mutex_);
        lock.lock();
        loop.helpers.fetch_sub(1, std::memory_order_release);
        done_.notify_all();
        continue;
      }
      const uint64_t seen = posted_.load(std::memory_order_relaxed);
      lock.unlock();
      spin([&] { return posted_.load(std::memory_order_relaxed) != seen; });
      lock.lock();
      wake_.wait(lock, [&] { return posted_.load(std::memory_order_relaxed) != seen; });
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::vector<Loop*> loops_;
  std::atomic<uint64_t> posted_{0};
  int workers_ = 0;
};

Pool* pool = nullptr;  // never freed: its threads run until the process ends

Pool& the_pool() {
  static const bool once = [] {
    pool = new Pool;
    pthread_atfork(nullptr, nullptr, [] { pool = new Pool; });  // threads and held locks stay behind in the parent
    return true;
  }();
  (void)once;
  return *pool;
}

}  // namespace

void parallel_for(int64_t n, int64_t grain, int threads, const std::function<void(int64_t, int64_t)>& body) {
  if (n <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  const int64_t pieces = (n - 1) / grain + 1;
  if (threads <= 1 || pieces == 1) return body(0, n);
  Loop loop{body, n, grain, static_cast<int>(std::min<int64_t>(pieces, threads)) - 1};
  the_pool().run(loop);
  if (loop.error) std::rethrow_exception(loop.error);
}

}  // namespace gxnor
