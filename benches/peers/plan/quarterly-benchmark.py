#!/usr/bin/env python3
# quarterly-benchmark.py

import time
import requests
import statistics
import concurrent.futures
from datetime import datetime

class PerformanceBenchmark:
    def __init__(self):
        self.api_base = "http://localhost:5000/api"
        self.results = {}
    
    def benchmark_api_endpoints(self):
        """API端点性能测试"""
        endpoints = [
            "/health",
            "/users/profile/alice",
            "/content/feed?limit=20",
        ]
        
        for endpoint in endpoints:
            print(f"测试端点: {endpoint}")
            response_times = []
            
            for i in range(100):
                start_time = time.time()
                try:
                    response = requests.get(f"{self.api_base}{endpoint}", timeout=5)
                    end_time = time.time()
                    
                    if response.status_code == 200:
                        response_times.append((end_time - start_time) * 1000)
                except Exception as e:
                    print(f"请求失败: {e}")
            
            if response_times:
                avg_time = statistics.mean(response_times)
                p95_time = statistics.quantiles(response_times, n=20)[18]  # 95th percentile
                
                self.results[endpoint] = {
                    "avg_response_time": avg_time,
                    "p95_response_time": p95_time,
                    "success_rate": len(response_times) / 100
                }
                
                print(f"  平均响应时间: {avg_time:.2f}ms")
                print(f"  95%响应时间: {p95_time:.2f}ms")
                print(f"  成功率: {len(response_times)/100*100:.1f}%")
    
    def benchmark_concurrent_load(self):
        """并发负载测试"""
        print("并发负载测试...")
        
        def make_request():
            try:
                response = requests.get(f"{self.api_base}/health", timeout=5)
                return response.status_code == 200
            except:
                return False
        
        # 测试不同并发级别
        for concurrency in [10, 50, 100]:
            print(f"  并发数: {concurrency}")
            
            with concurrent.futures.ThreadPoolExecutor(max_workers=concurrency) as executor:
                start_time = time.time()
                futures = [executor.submit(make_request) for _ in range(concurrency * 10)]
                results = [future.result() for future in concurrent.futures.as_completed(futures)]
                end_time = time.time()
                
                success_count = sum(results)
                total_time = end_time - start_time
                rps = len(results) / total_time
                
                print(f"    成功请求: {success_count}/{len(results)}")
                print(f"    RPS: {rps:.2f}")
                print(f"    总耗时: {total_time:.2f}s")
    
    def generate_report(self):
        """生成性能报告"""
        report = {
            "timestamp": datetime.now().isoformat(),
            "benchmark_results": self.results
        }
        
        with open(f"/var/log/alpha-social/benchmark_{datetime.now().strftime('%Y%m%d')}.json", "w") as f:
            import json
            json.dump(report, f, indent=2)
        
        print("性能报告已生成")

if __name__ == "__main__":
    benchmark = PerformanceBenchmark()
    benchmark.benchmark_api_endpoints()
    benchmark.benchmark_concurrent_load()
    benchmark.generate_report()
