#!/bin/bash
# daily-check.sh

echo "=== Alpha Social 每日检查 $(date) ==="

# 1. 检查服务状态
echo "1. 检查服务状态..."
services=("alpha-validator-1" "alpha-postgres" "alpha-redis" "alpha-api" "alpha-frontend")
for service in "${services[@]}"; do
    if docker ps | grep -q $service; then
        echo "✓ $service 运行正常"
    else
        echo "✗ $service 未运行 - 需要立即处理"
        # 尝试重启服务
        docker start $service
    fi
done

# 2. 检查区块链同步状态
echo "2. 检查区块链同步状态..."
sync_state=$(curl -s -H "Content-Type: application/json" \
  -d '{"id":1, "jsonrpc":"2.0", "method": "system_syncState", "params":[]}' \
  http://localhost:9933 | jq -r '.result.currentBlock')

if [ "$sync_state" != "null" ]; then
    echo "✓ 区块链同步正常，当前区块: $sync_state"
else
    echo "✗ 区块链同步异常"
fi

# 3. 检查系统资源
echo "3. 检查系统资源..."
disk_usage=$(df / | awk 'NR==2 {print $5}' | sed 's/%//')
memory_usage=$(free | awk 'NR==2{printf "%.0f", $3*100/$2}')
cpu_usage=$(top -bn1 | grep "Cpu(s)" | awk '{print $2}' | sed 's/%us,//')

echo "磁盘使用率: ${disk_usage}%"
echo "内存使用率: ${memory_usage}%"
echo "CPU使用率: ${cpu_usage}%"

# 告警阈值检查
if [ $disk_usage -gt 80 ]; then
    echo "⚠️  磁盘使用率过高: ${disk_usage}%"
fi

if [ $memory_usage -gt 80 ]; then
    echo "⚠️  内存使用率过高: ${memory_usage}%"
fi

# 4. 检查网络连接
echo "4. 检查网络连接..."
peer_count=$(curl -s -H "Content-Type: application/json" \
  -d '{"id":1, "jsonrpc":"2.0", "method": "system_networkState", "params":[]}' \
  http://localhost:9933 | jq -r '.result.connectedPeers | length')

echo "连接的节点数: $peer_count"

if [ $peer_count -lt 3 ]; then
    echo "⚠️  连接的节点数过少: $peer_count"
fi

# 5. 检查API健康状态
echo "5. 检查API健康状态..."
api_health=$(curl -s http://localhost:5000/api/health | jq -r '.status')

if [ "$api_health" = "healthy" ]; then
    echo "✓ API服务健康"
else
    echo "✗ API服务异常"
fi

# 6. 检查数据库连接
echo "6. 检查数据库连接..."
db_status=$(docker exec alpha-postgres psql -U alpha -d alpha_social -c "SELECT 1;" 2>/dev/null)

if [ $? -eq 0 ]; then
    echo "✓ 数据库连接正常"
else
    echo "✗ 数据库连接异常"
fi

echo "=== 每日检查完成 ==="
