# frozen_string_literal: true

# A worker with the handlers that the live tests of all SDKs share. Settings come from the environment.

$LOAD_PATH.unshift(File.expand_path('../lib', __dir__))

require 'tasker_core'
require 'tasker_core/worker/command'

# Handlers that do what the live tests want to see.
module Live
  LANGUAGE = 'ruby'

  # Small helpers that several handlers need.
  module Help
    def append(file, line)
      File.write(file, "#{line}\n", mode: 'a')
    end
  end

  class Echo < TaskerCore::StepHandler::Base
    def call(context)
      names = context.get_dependency_result_keys
      success(result: { language: LANGUAGE, input: context.input_data, attempt: context.retry_count + 1,
                        dependencies: names.to_h { |name| [name, context.get_dependency_result(name)] },
                        config: context.step_config })
    end
  end

  class Add < TaskerCore::StepHandler::Base
    def call(context)
      sums = (context.get_config(:from) || []).map { |step| context.get_dependency_field(step, 'sum') }
      success(result: { sum: (context.get_config(:add) || 0) + sums.compact.sum })
    end
  end

  class Decide < TaskerCore::StepHandler::Decision
    def call(context)
      case route = context.get_input(:route)
      when 'both' then decision_success(steps: %w[left right], routing_context: { route: route })
      when 'left' then decision_success(steps: ['left'])
      when 'none' then skip_branches('nothing wanted')
      else decision_failure(message: "unknown route: #{route}")
      end
    end
  end

  class Analyze < TaskerCore::StepHandler::Batchable
    def call(context)
      total = context.get_input(:total)
      return no_batches_outcome(reason: 'empty_dataset') if total.zero?

      configs = create_cursor_ranges(total, context.get_input(:batch_size))
      create_batches_outcome(worker_template_name: 'process_batch', cursor_configs: configs, total_items: total)
    end
  end

  class Batch < TaskerCore::StepHandler::Batchable
    include Help

    def call(context)
      batch = get_batch_context(context)
      first = batch.start_cursor
      sum = context.has_checkpoint? ? context.accumulated_results[:sum] : 0
      from = context.has_checkpoint? ? context.checkpoint_cursor : first
      (from...batch.end_cursor).each do |item|
        process(context, batch, item)
        sum += item
        done = item + 1 - first
        if checkpoint_due?(context, done) && item + 1 < batch.end_cursor
          return checkpoint_yield(cursor: item + 1, items_processed: done, accumulated_results: { sum: sum })
        end
      end
      size = batch.end_cursor - first
      batch_worker_success(items_processed: size, items_succeeded: size, results: [{ sum: sum }])
    end

    private

    def checkpoint_due?(context, done)
      every = context.get_input(:checkpoint_every)
      every && (done % every).zero?
    end

    def process(context, batch, item)
      flag = context.get_input(:kill_flag)
      if item == context.get_input(:kill_at) && !File.exist?(flag)
        File.write(flag, '')
        Process.kill(:KILL, Process.pid)
        sleep
      end
      append(context.get_input(:log_file), "#{batch.batch_id} #{item}")
    end
  end

  class Aggregate < TaskerCore::StepHandler::Batchable
    def call(context)
      scenario = detect_aggregation_scenario(context.dependency_results, 'analyze', 'process_batch_')
      return success(result: { skipped: true, total: 0 }) if scenario.no_batches?

      results = scenario.batch_results.values
      success(result: { total: results.sum { |result| result['items_processed'] },
                        worker_count: scenario.worker_count,
                        sum: results.sum { |result| result['results'].first['sum'] } })
    end
  end

  class Retry < TaskerCore::StepHandler::Base
    def call(context)
      attempts = context.retry_count + 1
      return success(result: { attempts: attempts }) if context.retry_count >= context.get_input(:failures)
      raise TaskerCore::Errors::RetryableError, 'not yet' if attempts.odd?

      failure(message: 'not yet', error_type: 'RetryableError', retryable: true)
    end
  end

  class Permanent < TaskerCore::StepHandler::Base
    def call(_context)
      raise TaskerCore::Errors::PermanentError, 'card declined'
    end
  end

  class Wait < TaskerCore::StepHandler::Base
    include Help

    def call(context)
      append(context.get_input(:signal_file), 'started')
      sleep(0.02) until context.cancelled?
      append(context.get_input(:signal_file), 'cancelled')
      success(result: {})
    end
  end

  class Block < TaskerCore::StepHandler::Base
    include Help

    def call(context)
      file = context.get_input(:signal_file)
      append(file, "started #{Process.pid}") if file
      sleep(context.get_input(:block_seconds))
      success(result: { blocked: true })
    end
  end

  class Hold < TaskerCore::StepHandler::Base
    include Help

    def call(context)
      append(context.get_input(:signal_file), "started #{Process.pid}")
      sleep(0.02) until File.exist?(context.get_input(:release_file))
      success(result: { pid: Process.pid })
    end
  end

  class Slow < TaskerCore::StepHandler::Base
    def call(context)
      return success(result: { attempts: context.retry_count + 1 }) if context.is_retry?

      sleep(context.get_input(:seconds))
      success(result: { slow: true })
    end
  end

  class Noop < TaskerCore::StepHandler::Base
    def call(_context)
      success(result: {})
    end
  end

  class Methods < TaskerCore::StepHandler::Base
    def call(_context)
      success(result: { method: 'call' })
    end

    def refund(_context)
      success(result: { method: 'refund' })
    end
  end

  class Language < TaskerCore::StepHandler::Base
    def call(context)
      trail = context.get_config(:after) ? context.get_dependency_field(context.get_config(:after), 'trail') : []
      success(result: { language: LANGUAGE, trail: [*trail, LANGUAGE] })
    end
  end

  extend TaskerCore::StepHandler::Functional

  step_handler('live_function', depends_on: { total: 'first' }, inputs: [:order_id]) do |total:, order_id:, **|
    { order_id: order_id, total: total }
  end

  HANDLERS = {
    'live_echo' => Echo, 'live_add' => Add, 'live_decide' => Decide, 'live_analyze' => Analyze, 'live_batch' => Batch,
    'live_aggregate' => Aggregate, 'live_retry' => Retry, 'live_permanent' => Permanent, 'live_wait' => Wait,
    'live_block' => Block, 'live_hold' => Hold, 'live_slow' => Slow, 'live_noop' => Noop, 'live_methods' => Methods,
    'live_language' => Language, 'live_ruby' => Language
  }.freeze
end

registry = TaskerCore::Registry::HandlerRegistry.instance
Live::HANDLERS.each { |name, handler| registry.register_handler(name, handler) }

exit(TaskerCore::Worker::Command.run([]))
