# frozen_string_literal: true

require 'json'

# One conformance vector, as Ruby runs it; see sdks/conformance/README.md.
class Vector
  PATH = File.expand_path('../../../../conformance/vectors.json', __dir__)

  # Operations whose result is what is sent to the server.
  WIRE = %w[execute handler_timeout worker_shutdown api_call api_connection_error api_timeout].freeze

  # Objects of which only what is expected is compared.
  WIRE_PARTS = ['', '/error', '/metadata', '/metadata/custom', '/orchestration_metadata',
                '/orchestration_metadata/headers'].freeze

  def self.document
    @document ||= JSON.parse(File.read(PATH, encoding: 'UTF-8'), max_nesting: false)
  end

  def self.all
    document['vectors'].select { |data| data['langs'].include?('rb') }.map { |data| new(data) }
  end

  def initialize(data)
    own = (data['overrides'] || {})['rb'] || {}
    data = data.except('expect', 'expect_error') if own.key?('expect') || own.key?('expect_error')
    @data = data.merge(own)
  end

  def id = @data['id']

  def area = @data['area']

  def operation = @data['op']

  def arguments = @data['args'] || []

  def fails? = @data['expect_error'] == true

  # The lease, with the vector's handler and changes.
  def lease
    lease = JSON.parse(JSON.generate(self.class.document['base']))
    lease['task_sequence_step']['step_definition']['handler']['callable'] = @data['handler'] if @data['handler']
    (@data['patch'] || {}).each { |pointer, value| set(lease, pointer, value) }
    lease
  end

  # What is wrong with a result: nil if nothing is.
  def complaint(result)
    actual = JSON.parse(JSON.generate([result], max_nesting: false), max_nesting: false).first
    present = (@data['absent'] || []).find { |pointer| !at(actual, pointer).nil? }
    return "#{present} is there: #{at(actual, present).inspect}" if present

    difference(@data['expect'], actual, '')
  end

  private

  def set(document, pointer, value)
    *path, last = pointer.split('/', -1).drop(1)
    holder = path.reduce(document) { |part, key| part.fetch(part.is_a?(Array) ? key.to_i : key) }
    holder[holder.is_a?(Array) ? last.to_i : last] = value
  end

  def at(document, pointer)
    pointer.split('/', -1).drop(1).reduce(document) { |part, key| part.is_a?(Hash) ? part[key] : nil }
  end

  def difference(expected, actual, pointer)
    case expected
    when Hash then matcher?(expected) ? match(expected, actual, pointer) : compare_objects(expected, actual, pointer)
    when Array then compare_lists(expected, actual, pointer)
    else "at #{pointer.inspect}: #{expected.inspect} expected, got #{actual.inspect}" unless same?(expected, actual)
    end
  end

  def same?(expected, actual)
    expected == actual && (expected.is_a?(Numeric) || expected.instance_of?(actual.class))
  end

  def compare_objects(expected, actual, pointer)
    return "at #{pointer.inspect}: an object expected, got #{actual.inspect}" unless actual.is_a?(Hash)

    more = actual.compact.keys - expected.keys
    return "at #{pointer.inspect}: not expected: #{more.join(', ')}" unless more.empty? || open?(pointer)

    expected.filter_map { |key, value| difference(value, actual[key], "#{pointer}/#{key}") }.first
  end

  def compare_lists(expected, actual, pointer)
    return "at #{pointer.inspect}: a list expected, got #{actual.inspect}" unless actual.is_a?(Array)
    return "at #{pointer.inspect}: #{expected.size} elements expected, got #{actual.size}" if expected.size != actual.size

    expected.zip(actual).each_with_index.filter_map { |(one, other), index| difference(one, other, "#{pointer}/#{index}") }.first
  end

  # Whether an object there may have more keys than are expected.
  def open?(pointer)
    return true if WIRE.include?(operation) && WIRE_PARTS.include?(pointer)

    (@data['include'] || []).any? { |start| pointer == start || pointer.start_with?("#{start}/") }
  end

  def matcher?(expected)
    expected.keys.any? { |key| key.start_with?('$') }
  end

  def match(expected, actual, pointer)
    text = actual.to_s
    fits = (expected['$contains'] || []).all? { |part| text.include?(part) } &&
           (expected['$excludes'] || []).none? { |part| text.include?(part) } &&
           (expected['$length'].nil? || text.length == expected['$length'])
    "at #{pointer.inspect}: #{expected.inspect} expected, got #{text[0, 200].inspect}" unless actual.is_a?(String) && fits
  end
end
