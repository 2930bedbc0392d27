# frozen_string_literal: true

require 'bigdecimal'

RSpec.describe TaskerCore::Types::JsonValue do
  it 'writes values as all languages read them' do
    struct = Struct.new(:a, :b)
    {
      { a: 1, 2 => { nil => :x } } => { 'a' => 1, '2' => { '' => 'x' } },
      [1, 1.5, true, nil, 'x'] => [1, 1.5, true, nil, 'x'],
      Set[1, 2] => [1, 2],
      Time.utc(2030, 1, 31, 8) => '2030-01-31T08:00:00.000000Z',
      Time.new(2030, 1, 31, 9, 0, 0, '+01:00') => '2030-01-31T08:00:00.000000Z',
      Date.new(2030, 1, 31) => '2030-01-31',
      DateTime.new(2030, 1, 31, 8) => '2030-01-31T08:00:00.000000Z',
      BigDecimal('0.10') => '0.1',
      Rational(1, 4) => 0.25,
      struct.new(1, [2]) => { 'a' => 1, 'b' => [2] },
      TaskerCore::Types::RetryConfiguration.new(max_attempts: 5) => { 'retryable' => true, 'max_attempts' => 5, 'backoff' => 'exponential',
                                                                      'backoff_base_ms' => 1000, 'max_backoff_ms' => 30_000 },
      'größe'.encode('ISO-8859-1') => 'größe',
      Class.new { def as_json = { 'own' => 1 } }.new => { 'own' => 1 },
      Class.new { def to_unsafe_h = { own: 1 } }.new => { 'own' => 1 }
    }.each { |value, expected| expect(described_class.of(value)).to eq(expected) }
  end

  it 'makes ordinary Hashes of indifferent ones' do
    plain = described_class.of(TaskerCore::Types::IndifferentHash.new({ a: [{ b: 1 }] }))
    expect([plain, plain['a'].first].map(&:class)).to eq([Hash, Hash])
  end

  it 'refuses what JSON cannot say, and says where' do
    {
      { a: [Float::NAN] } => '$.a[0]', -Float::INFINITY => '$', [10**400] => '$[0]', "\u0000" => '$', { "\u0000" => 1 } => '$',
      [Object.new] => 'Object, which has no JSON form', "\xFF" => 'UTF-8', "\xFF".b => 'UTF-8', BigDecimal('NaN') => '$',
      (1..2) => 'to_h fails'
    }.each { |value, part| expect { described_class.of(value) }.to raise_error(described_class::NoJsonFormError, /#{Regexp.escape(part)}/) }
  end

  it 'refuses what contains itself' do
    list = []
    list << list
    expect { described_class.of(list) }.to raise_error(described_class::NoJsonFormError, /too deeply/)
  end
end
